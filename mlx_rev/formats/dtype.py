"""How numbers are kept in a file: one vocabulary for every format and the command line."""

from enum import StrEnum


class Dtype(StrEnum):
    """How matrices are kept; vectors are float32 or, beside float16 and bfloat16, of that type."""

    FLOAT32 = "float32"
    FLOAT16 = "float16"
    BFLOAT16 = "bfloat16"
    Q8 = "q8"
    """8 bits and a scale for each group, in the format's own way."""
