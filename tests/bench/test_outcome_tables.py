from io import StringIO

from rich.console import Console

from bench.outcome_tables import columns, outcome_tables, rows_of, upright


def test_any_part_becomes_rows():
    assert rows_of([{"a": 1}, 2]) == [{"a": 1}, {"value": 2}]
    assert rows_of({"one": {"a": 1}, "two": {"a": 2}}) == [{"": "one", "a": 1}, {"": "two", "a": 2}]
    assert rows_of({"a": 1, "b": {"c": {"d": 2}}}) == [{"a": 1, "b.c.d": 2}]


def test_what_fits_no_cell_is_left_to_the_file():
    assert columns([{"a": 1, "spread": [1, 2]}, {"b": 2}]) == ["a", "b"]


def test_one_row_with_much_in_it_stands_upright():
    assert upright([{str(number): number for number in range(20)}])
    assert not upright([{"a": 1}] * 20)


def test_every_part_is_shown_in_a_terminal_with_its_markup_as_text(results):
    results["limit"][0]["model"] = "[red]net[/red]"
    console = Console(width=200, record=True, file=StringIO())
    for table in outcome_tables(results):
        console.print(table)
    shown = console.export_text()
    assert "[red]net[/red]" in shown
    assert all(part in shown for part in results if part != "meta")


def test_names_of_figures_are_text_too():
    nasty = "[/red]x"
    results = {"meta": {}, nasty: [{nasty: 1}], "upright": [{"model": nasty, **{str(n): n for n in range(9)}}]}
    console = Console(width=200, record=True, file=StringIO())
    for table in outcome_tables(results):
        console.print(table)
    assert console.export_text().count(nasty) == 3
