"""Tests of adapters that prove who somebody is."""
