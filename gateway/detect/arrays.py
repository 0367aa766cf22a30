"""Names for the array types that detectors pass around."""

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Shorts = npt.NDArray[np.float32]
Numbers = npt.NDArray[np.floating]
Indices = npt.NDArray[np.int64]
Mask = npt.NDArray[np.bool_]
