"""Running out of memory, which each allocator says in its own way."""


def is_out_of_memory(error: BaseException) -> bool:
    """Tell whether an error says that memory could not be had, on the host or on a GPU."""
    import torch  # whoever asks has it, and the driver does not ask

    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)  # torch's allocator for CPUs
