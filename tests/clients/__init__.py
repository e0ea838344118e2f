"""The clients that people use, run for real against a server of ours."""
