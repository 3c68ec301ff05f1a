# SPDX-License-Identifier: Apache-2.0
"""Every error that a user can meet, each with a sentence that names the fix."""


class CclLgsError(Exception):
    """A mistake or a lack that a user can put right; its text is one sentence naming the fix."""


class ConfigError(CclLgsError):
    """An option that does not exist or has a value it cannot take."""


class MissingDependencyError(CclLgsError):
    """Something that is not installed; the text holds the command that installs it."""


class WeightsError(CclLgsError):
    """A file that should hold the weights of a model and does not."""


class BagError(CclLgsError):
    """A recording that is missing, damaged, empty or lacks what mapping needs."""


class MapError(CclLgsError):
    """A map directory that cannot be read, written or continued."""


class EncoderMismatchError(CclLgsError):
    """A prompt in one language space was put to a map built in another."""


class EvaluationError(CclLgsError):
    """An evaluation set that cannot be read or does not fit the map."""


class DecodeError(CclLgsError):
    """A message whose pixels cannot be read, with what was expected and what came."""


class TransformError(CclLgsError):
    """No transform between two frames at the time asked for."""


class Cancelled(Exception):
    """Raised by a progress callback to stop long work at its next safe point."""


class PromptError(CclLgsError):
    """A prompt that is empty or too long to mean one thing."""
