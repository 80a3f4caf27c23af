"""The process that serves, or the several of them."""

from __future__ import annotations

from sabia.serving.settings import Settings


def serve(settings: Settings) -> None:
    """Load the version and serve it until SIGTERM or SIGINT: in this process, or in as many workers as are set.

    Raises:
        LoadFailed: it cannot be served; nothing was listening.
    """
    if settings.model_class is not None:
        from sabia.serving.custom import server as custom  # noqa: PLC0415  one of the three is needed
        from sabia.serving.custom import sources  # noqa: PLC0415

        custom.serve(sources.from_setting(settings.model_class, settings.model_name, settings.source), settings)
    elif settings.workers > 1:
        from sabia.serving.process import workers  # noqa: PLC0415  most servers have one process

        workers.serve(settings)
    else:
        from sabia.serving.process import server  # noqa: PLC0415  one of the three is needed

        server.serve(settings)
