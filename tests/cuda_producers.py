"""Arrays of others on the emulated GPU: DLPack and the other protocol, as their texts say."""

import ctypes


class Tensor(ctypes.Structure):
    _fields_ = [
        ("data", ctypes.c_void_p),
        ("device_type", ctypes.c_int32),
        ("device_id", ctypes.c_int32),
        ("ndim", ctypes.c_int32),
        ("code", ctypes.c_uint8),
        ("bits", ctypes.c_uint8),
        ("lanes", ctypes.c_uint16),
        ("shape", ctypes.POINTER(ctypes.c_int64)),
        ("strides", ctypes.POINTER(ctypes.c_int64)),
        ("byte_offset", ctypes.c_uint64),
    ]


DELETER = ctypes.CFUNCTYPE(None, ctypes.c_void_p)


class Managed(ctypes.Structure):
    _fields_ = [("tensor", Tensor), ("context", ctypes.c_void_p), ("deleter", DELETER)]


class Versioned(ctypes.Structure):
    _fields_ = [
        ("major", ctypes.c_uint32),
        ("minor", ctypes.c_uint32),
        ("context", ctypes.c_void_p),
        ("deleter", DELETER),
        ("flags", ctypes.c_uint64),
        ("tensor", Tensor),
    ]


api = ctypes.pythonapi
api.PyCapsule_New.restype = ctypes.py_object
api.PyCapsule_New.argtypes = [ctypes.c_void_p, ctypes.c_char_p, ctypes.c_void_p]
api.PyCapsule_GetName.restype = ctypes.c_char_p
api.PyCapsule_GetName.argtypes = [ctypes.py_object]
api.PyCapsule_GetPointer.restype = ctypes.c_void_p
api.PyCapsule_GetPointer.argtypes = [ctypes.py_object, ctypes.c_char_p]
NAMES = {False: b"dltensor", True: b"dltensor_versioned"}


class Producer:
    """An array of lstmcore's in a capsule of somebody else's making."""

    def __init__(
        self,
        block,
        *,
        versioned=True,
        flags=0,
        major=1,
        strides=None,
        shape=None,
        offset=0,
        code=2,
        bits=32,
        device=(2, 0),
        knows_max_version=True,
        error=None,
    ):
        self.block, self.shape = block, tuple(block.shape if shape is None else shape)
        self.settings = {"strides": strides, "offset": offset, "code": code, "bits": bits}
        self.versioned, self.flags, self.major = versioned, flags, major
        self.device, self.error = device, error
        self.streams, self.deleted, self.capsule, self._exports = [], 0, None, []
        if not knows_max_version:
            self.__class__ = OldProducer

    @property
    def ndim(self):
        return len(self.shape)

    def __dlpack_device__(self):
        return self.device

    def __dlpack__(self, *, stream=None, max_version=None):
        assert max_version == (1, 0)
        return self._export(stream)

    def _export(self, stream):
        self.streams.append(stream)
        if self.error:
            raise self.error
        address = self.block.__cuda_array_interface__["data"][0]
        sizes = (ctypes.c_int64 * len(self.shape))(*self.shape)
        strides = self.settings["strides"]
        strides = strides and (ctypes.c_int64 * len(strides))(*strides)
        tensor = Tensor(
            address,
            *self.device,
            len(self.shape),
            self.settings["code"],
            self.settings["bits"],
            1,
            sizes,
            strides,
            self.settings["offset"],
        )

        def delete(_):
            self.deleted += 1

        deleter = DELETER(delete)
        if self.versioned:
            managed = Versioned(self.major, 0, None, deleter, self.flags, tensor)
        else:
            managed = Managed(tensor, None, deleter)
        self._exports.append([sizes, strides, deleter, managed])
        name = NAMES[self.versioned]
        self.capsule = api.PyCapsule_New(ctypes.addressof(managed), name, None)
        return self.capsule


class OldProducer(Producer):
    def __dlpack__(self, *, stream=None):
        return self._export(stream)


class Interface:
    def __init__(self, block, **changes):
        self.shape = tuple(changes.get("shape", block.shape))
        self.block = block
        self.__cuda_array_interface__ = {**block.__cuda_array_interface__, **changes}


class WithoutShape:
    def __init__(self, block):
        self.block, self.__cuda_array_interface__ = block, block.__cuda_array_interface__
