"""Define what is trained: networks, estimators, optimisers, preparation; and on what it runs."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

Scalar = bool | int | float | str | None
Fraction = Annotated[float, Field(gt=0, lt=1)]
Positive = Annotated[float, Field(gt=0)]
NotNegative = Annotated[float, Field(ge=0)]
# What libraries count in 32 bits; and a width beyond which no memory holds the weights.
Count = Annotated[int, Field(ge=1, le=2**31 - 1)]
Units = Annotated[int, Field(ge=1, le=2**16)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_]*$", max_length=64)]
# A module and a name in it, as an entry point is written.
Target = Annotated[str, Field(pattern=r"^[A-Za-z_][\w.]*:[A-Za-z_][\w.]*$", max_length=512)]


class Contract(BaseModel):
    """Be strict, immutable and closed: unknown fields, NaN and infinity are refused."""

    model_config = ConfigDict(strict=True, frozen=True, extra="forbid", allow_inf_nan=False)


class RuntimeSpec(Contract):
    """Say on what a request runs: device, threads, determinism, compilation.

    ``auto`` is the accelerator that a framework finds, else the CPU. ``threads`` are those of
    one worker. ``deterministic`` asks for equal numbers on every repetition; false allows
    other numbers and does not call for them. ``compilation`` is for a framework that can both
    compile an epoch and go without; ``auto`` decides by an estimate. ``models_at_once`` is how
    many models of equal shape are trained as one computation at most, 0 for what pays.
    """

    device: Literal["auto", "cpu", "cuda"] = "auto"
    threads: Annotated[int, Field(ge=1, le=512)] = 1
    deterministic: bool = True
    compilation: Literal["auto", "always", "never"] = "auto"
    models_at_once: Annotated[int, Field(ge=0, le=64)] = 0


class PreprocessingSpec(Contract):
    """Say how a table becomes a float matrix; everything is fitted on the training rows.

    ``one_hot`` keeps at most ``max_levels`` columns a categorical feature, the rarest levels
    sharing the last one; ``ordinal`` gives one column of frequency ranks, capped alike.
    """

    encoding: Literal["one_hot", "ordinal"] = "one_hot"
    max_levels: Annotated[int, Field(ge=2, le=1024)] = 32
    scale: bool = True


class OptimizerSpec(Contract):
    """Spell out every hyperparameter, because libraries differ in their defaults.

    ``weight_decay`` adds that share of every weight to its gradient (adam, sgd), or shrinks the
    weights by it times the learning rate before each update (adamw; Loshchilov and Hutter 2019).
    """

    name: Literal["adam", "adamw", "sgd"] = "adam"
    learning_rate: Positive = 1e-3
    beta1: Annotated[float, Field(ge=0, lt=1)] = 0.9
    beta2: Annotated[float, Field(ge=0, lt=1)] = 0.999
    epsilon: Positive = 1e-8
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.0
    weight_decay: NotNegative = 0.0


class ScheduleSpec(Contract):
    """Say how the learning rate moves from update to update, as a share of the optimiser's.

    ``cosine``, ``linear`` and ``exponential`` go from 1 to ``final`` over the network's epochs
    after the warm-up; ``step`` multiplies by ``factor`` after every ``every`` epochs. The share
    rises from 0 to 1 in a line over the first ``warmup`` epochs, which may be a fraction.
    """

    name: Literal["constant", "cosine", "linear", "exponential", "step"] = "constant"
    warmup: NotNegative = 0.0
    final: Annotated[float, Field(gt=0, le=1)] = 0.01
    every: Count = 10
    factor: Annotated[float, Field(gt=0, le=1)] = 0.5


class NetworkSpec(Contract):
    """Describe a neural network and its training, for any neural framework.

    ``hidden`` has one entry a layer or block: the units of a dense (mlp) or recurrent (rnn)
    layer, the channels of a convolution (cnn), the inner units of a residual block (resnet) or
    of a block of attention (transformer), whose stream is ``width`` wide. A transformer makes
    at most ``tokens`` tokens; neighbouring features share one where there are more of them.

    ``class_weight`` balanced weighs each row by the inverse frequency of its class in the
    training rows, 1 on average. ``patience`` is the number of epochs without a better
    validation loss after which training stops and the best weights return; 0 turns that off.
    """

    kind: Literal["network"] = "network"
    architecture: Literal["linear", "mlp", "resnet", "cnn", "rnn", "transformer"]
    hidden: tuple[Units, ...] = (64, 32)
    width: Units = 64
    activation: Literal["relu", "tanh", "sigmoid", "silu", "gelu"] = "relu"
    norm: Literal["none", "batch", "layer"] = "none"
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    kernel_size: Units = 3
    cell: Literal["gru", "lstm"] = "gru"
    heads: Units = 4
    tokens: Units = 32
    optimizer: OptimizerSpec = OptimizerSpec()
    schedule: ScheduleSpec = ScheduleSpec()
    class_weight: Literal["none", "balanced"] = "none"
    epochs: Count = 50
    batch_size: Count = 256
    patience: Annotated[int, Field(ge=0)] = 8

    @model_validator(mode="after")
    def _parts_fit(self) -> NetworkSpec:
        if self.architecture == "transformer" and self.width % self.heads:
            raise ValueError(f"width {self.width} cannot be parted among {self.heads} heads")
        if self.architecture in ("cnn", "rnn", "resnet", "transformer") and not self.hidden:
            raise ValueError(f"a {self.architecture} needs at least one entry in hidden")
        return self


class EstimatorSpec(Contract):
    """Name an estimator that trains itself, with its own parameters."""

    kind: Literal["estimator"] = "estimator"
    estimator: Name
    params: dict[str, Scalar | tuple[Scalar, ...]] = {}


class ImportedSpec(Contract):
    """Name what a project defines itself, as ``module:name``: an estimator or a learner.

    An ``estimator`` is a class, an instance or a function that returns one, with scikit-learn's
    ``fit`` and ``predict``; it belongs to the framework sklearn. A ``learner`` is a function or
    class that takes a ``ml.core.learner.Problem`` and returns a ``ml.core.learner.Learner``, in
    any framework. Both are given ``params`` by name.
    """

    kind: Literal["imported"] = "imported"
    target: Target
    role: Literal["estimator", "learner"] = "estimator"
    params: dict[str, Scalar | tuple[Scalar, ...]] = {}


class CheckpointSpec(Contract):
    """Say where a training is kept, and how often: after so many epochs or so many seconds.

    With both numbers, whichever comes first. The end of a training is always kept, so that
    asking for it again returns its result without training. Replicate i of the request is in
    ``replicate-<i>.safetensors`` in ``folder``, which is made where it is not there, and in
    which one process at a time may train.
    """

    folder: Annotated[str, Field(min_length=1)]
    every_epochs: Count | None = None
    every_seconds: Positive | None = None

    @model_validator(mode="after")
    def _says_how_often(self) -> CheckpointSpec:
        if self.every_epochs is None and self.every_seconds is None:
            raise ValueError("every_epochs or every_seconds, to say how often to keep the training")
        return self


ModelSpec = Annotated[NetworkSpec | EstimatorSpec | ImportedSpec, Field(discriminator="kind")]
