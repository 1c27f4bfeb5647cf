"""What a worker does to a block of rows, stage by stage; none knows Ray (pipeline/stage.py)."""
