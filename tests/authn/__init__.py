"""Tests of the adapters that prove who somebody is."""
