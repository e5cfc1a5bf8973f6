"""Rows side by side: blocks `[0, last)` computed by several devices at once, a band of rows of the picture each.

Every row of a convolution's output needs a few rows of its input. Followed backwards through the fused blocks, a band
of the last feature map needs a band of the picture that overlaps its neighbours' (the halo); what lies in the halo is
computed by both. Nothing is exchanged between the bands, and joined they are what one device would have made
(DeepThings, Zhao et al., TCAD 2018; CoEdge, Zeng et al., ToN 2021; DistrEdge, Hou et al., IPDPS 2022).

In the order of use: `legal.deepest` says how far a model can be divided, `shares` who gets which rows, `needed` which
rows of the picture those take, `cost` what that costs; `band.load_band` computes one band, `join` puts them together.
"""
