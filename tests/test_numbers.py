"""Numbers for people: decimals, small and large ones, intervals and what has none."""

from __future__ import annotations

import math
import re

import pandas as pd
import pytest

from oncogym.evaluation.comparison import text_table
from oncogym.evaluation.numbers import show_interval, show_number
from oncogym.evaluation.report.page import Report
from oncogym.evaluation.statistics import Interval, show_column


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (7.195e-40, "< 0.001"),
        (-7.195e-40, "> -0.001"),
        (0.0004, "< 0.001"),
        (0.0006, "0.001"),
        (0.5, "0.500"),
        (-1.62, "-1.620"),
        (13.886, "13.89"),
        (412.34, "412.3"),
        (1170.2, "1170"),
        (9999.4, "9999"),
        (9999.6, "10 000"),
        (1234567.8, "1 234 568"),
        (2.5e18, "2.50 x 10^18"),
        (math.inf, "infinite"),
        (math.nan, "\N{EN DASH}"),
        (None, "\N{EN DASH}"),
    ],
)
def test_numbers_have_no_exponents_and_no_idle_digits(value, text):
    assert show_number(value) == text


def test_decimals_may_be_given():
    assert show_number(1 / 3, 1) == "0.3"
    assert show_number(0.01, 1) == "< 0.1"
    assert show_number(0.4, 0) == "< 1"


@pytest.mark.parametrize(
    ("interval", "text"),
    [
        ((0.5, 0.25, 0.75), "0.500 [0.250, 0.750]"),
        ((13.886, -0.2, 14.42), "13.89 [-0.20, 14.42]"),
        ((3.0, math.nan, math.nan), "3.000"),  # one patient
        ((0.0, 0.0, 0.0), "0"),
        ((30.0, 30.0, 30.0), "30.00"),
        ((2.5, 2.49999999, 2.50000001), "2.500"),
        ((1e-9, 0.0, 0.002), "< 0.001 [0, 0.002]"),
    ],
)
def test_intervals_stand_in_brackets_where_there_is_one(interval, text):
    assert show_interval(*interval) == text
    assert f"{Interval(*interval)}" == text


def test_a_column_has_the_same_decimals():
    cells = [Interval(12.0, 11.0, 13.0), Interval(0.004, 0.0, 0.01), 0.5, None, 7, "left out"]
    assert show_column(cells) == [
        "12.00 [11.00, 13.00]", "< 0.01 [0, 0.01]", "0.50", "\N{EN DASH}", "7", "left out",
    ]  # fmt: skip


def test_terminal_and_report_show_the_same():
    table = pd.DataFrame(
        {
            "agent": ["one", "two"],
            "cost": [Interval(0.0, 0.0, 0.0), Interval(1170.0, 1100.0, 1240.0)],
            "cells": [7.195e-40, 0.25],
        }
    )
    lines = [line.split("  ") for line in text_table(table).splitlines()]
    cells = [[cell.strip() for cell in line if cell.strip()] for line in lines]
    assert cells[1:] == [["one", "0", "< 0.001"], ["two", "1170 [1100, 1240]", "0.250"]]
    page = re.sub("</?span[^>]*>", "", Report("title").add_table(table, "caption").render())
    for row in cells[1:]:
        for cell in row[1:]:
            assert f">{cell.replace('<', '&lt;')}</td>" in page, cell
    assert "e-40<" not in page
