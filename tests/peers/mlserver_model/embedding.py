"""A model for MLServer: the bytes of a text, counted by value modulo the dimension. What matters is the server around it."""

import numpy as np
from mlserver import MLModel
from mlserver.codecs import NumpyCodec, StringCodec
from mlserver.errors import InferenceError
from mlserver.types import InferenceRequest, InferenceResponse

DIMENSION = 16


def embed(text):
    return np.bincount(np.frombuffer(text.encode(), np.uint8) % DIMENSION, minlength=DIMENSION)


class Embedding(MLModel):
    async def load(self):
        return True

    async def predict(self, payload: InferenceRequest) -> InferenceResponse:
        texts = StringCodec.decode_input(payload.inputs[0])
        if any("[refused]" in text for text in texts):
            raise InferenceError("a text is not to this model's liking")
        vectors = np.array([embed(text) for text in texts], np.float32)
        return InferenceResponse(model_name=self.name, outputs=[NumpyCodec.encode_output("embedding", vectors)])
