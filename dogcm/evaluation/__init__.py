"""How good a forecast is: scores, contenders and tables."""
