"""What crosses a room: every table column by column, and run.json.

One image has four numbers. `image` is its row in the run's catalog and in its scores, which stand in the same order:
its number in all stages, and in the report's files (there `n`). `position` is its place among the encoded images of its
category, in the order of their index; `reference` is a place among the references of a category; `row` is one in a file
of features.
"""
