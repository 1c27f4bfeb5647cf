"""Image and pixel metrics: pure functions of arrays, as MVTec AD and MuSc define them."""
