"""Adaptive therapy: the turnover study, published learners, and the trial behind them."""
