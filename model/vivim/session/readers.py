"""Readers: several persons draw masks for one video, each in a session of their own.

The session of the reader ``default`` lies in the folder beside the video, as it does where there is one reader alone.
Those of the others are whole session folders in it: ``VIDEO.vivim/readers/NAME``. So each has a lock of their own.
"""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from vivim.errors import SessionError
from vivim.session.folder_lock import refuse_links
from vivim.session.ledger import now
from vivim.session.metadata import FILE, READER_NAME, READERS, Description, sessions_in, top_of
from vivim.session.migrations import DEFAULT, SCHEMA, name_of
from vivim.session.video_link import home_of


def readers_of(path: str | Path) -> list[str]:
    """List the readers who have a session of a video, ``"default"`` first.

    Parameters
    ----------
    path : str or Path
        A video, or a session folder.

    Returns
    -------
    list of str
        What `Session.open` takes as `reader`. Empty if nobody has begun.

    Raises
    ------
    VideoError, SessionError
        If it is neither a video nor a session folder, or the latter is damaged.
    """
    folder = Path(path)
    if not sessions_in(folder):
        from vivim.video import open_video

        with closing(open_video(folder)) as video:
            folder = home_of(video)
    if not (folder / FILE).is_file():
        return list(sessions_in(folder))
    own = Description.read(folder / FILE)
    top = top_of(folder, own)
    is_top = top == folder.absolute()
    return [own.reader if is_top and name == DEFAULT else name for name in sessions_in(top)]


def session_of(
    folder: Path, reader: str | None = None, read_only: bool = False
) -> tuple[Path, Description | None]:
    """Find a reader's session, which need not be there yet.

    Parameters
    ----------
    folder : Path
        The folder of a video, or of one reader's session.
    reader : str, optional
        Whose session; by default the one that lies in `folder`.
    read_only : bool
        Allow symbolic links on the way to it.

    Returns
    -------
    tuple
        Its folder, and what it says of the video. A new one is to say what another reader's does. None if no reader
        has begun.

    Raises
    ------
    SessionError
        If no reader can have that name, the session is another reader's, or its folder is a symbolic link.
    """
    own = Description.read(folder / FILE) if (folder / FILE).is_file() else None
    if own is not None and reader in (None, own.reader):
        return folder, own
    top = folder if own is None else top_of(folder, own)
    reader = DEFAULT if reader is None else reader
    if not READER_NAME.fullmatch(reader):
        raise SessionError(
            f"{reader!r} cannot be the name of a reader. Use up to 64 letters from a to z, digits, - and _, and begin "
            "with a letter or a digit."
        )
    sessions = sessions_in(top)
    twin = next((name for name in sessions if name != reader and name.lower() == reader.lower()), None)
    if twin is not None:
        raise SessionError(f"There is a reader {twin} already. Open {twin}, or choose a name that differs.")
    home = top if reader == DEFAULT else top / READERS / reader
    if reader != DEFAULT and not read_only:
        try:
            refuse_links(top, READERS, reader)
        except OSError as error:
            raise SessionError(
                f"{error.strerror}. This program writes only inside a session's folder."
            ) from error
    if reader in sessions:
        found = Description.read(home / FILE)
        if found.reader != reader:
            raise SessionError(
                f"{home} holds the session of reader {found.reader}. Move it to where that reader's belongs."
            )
        return home, found
    if not sessions:
        return home, None
    other = Description.read(next(iter(sessions.values())) / FILE)
    name = name_of(other.video)
    return home, replace(other, schema=SCHEMA, video=name, reader=reader, created=now(), earlier=())
