"""Tests of the shape of the code: sizes, layers, layout, words, and that promises are written down."""
