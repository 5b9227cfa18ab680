"""Shared by all Python tests: this folder is on the path (moonlib), and `--full` asks for the long form."""


def pytest_addoption(parser):
    parser.addoption("--full", action="store_true", help="the long form of the tests that have one")
