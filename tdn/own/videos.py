"""One's own videos as a data set that is decoded once, at the size of training."""

from dataclasses import dataclass
from pathlib import Path

from tdn.data.clips import VideoSet
from tdn.data.disk.catalog import DatasetSpec
from tdn.data.kept import KeptFrames


@dataclass(frozen=True)
class OwnVideos(DatasetSpec):
    """A data set whose frames are kept with `side` pixels on the shorter side (None: each clip is decoded from its
    file). `mirror` are pairs of names of classes that mirroring exchanges, beside those with left and right in them;
    None mirrors no clip."""

    side: int | None = None
    mirror: tuple[tuple[str, str], ...] | None = None

    def videos(self, data: Path) -> tuple[VideoSet, VideoSet]:
        """As `DatasetSpec.videos`, without the notes, which `look_at` gives."""
        *sets, _ = self._found(data)
        for videos in sets:
            videos.mirrored, videos.twins = videos.mirrored and self.mirror is not None, dict(self.mirror or ())
            videos.kept = KeptFrames(self.frames(data), self.side) if self.side else None
        return tuple(sets)

    def frames(self, data: Path) -> Path:
        """The folder of the kept frames, of this size."""
        return data / "frames" / f"{self.index_file(data).stem}-{self.side}"
