"""The gateway's journal: sources hand requests over durably and go; each is answered once, whatever is killed."""
