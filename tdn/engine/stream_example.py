"""The likeliest class of the last seconds of a video, by model.onnx: python stream.py FILE, or 0 for a webcam."""

import json
import sys
from collections import deque
from pathlib import Path

import cv2
import numpy as np
import onnxruntime

SECONDS, EVERY = 3, 10  # how much of the video the network sees, and the frames between two looks
about = json.loads(Path(__file__).with_name("model.json").read_text("utf-8"))
T, L, stride, size = (about[key] for key in ("segments", "window", "window_stride", "size"))
network = onnxruntime.InferenceSession(Path(__file__).with_name("model.onnx"), providers=["CPUExecutionProvider"])
video = cv2.VideoCapture(int(sys.argv[1]) if sys.argv[1].isdecimal() else sys.argv[1])
if not video.isOpened():
    raise OSError(f"{sys.argv[1]} can't be opened")
fps = video.get(cv2.CAP_PROP_FPS) or 30  # some webcams do not know theirs
frames, count = deque(maxlen=round(SECONDS * fps)), 0
while (frame := video.read()[1]) is not None:
    side = round(about["scale"] * min(frame.shape[:2]))
    top, left = (frame.shape[0] - side) // 2, (frame.shape[1] - side) // 2
    square = frame[top : top + side, left : left + side]
    frames.append(cv2.resize(square, (size, size), interpolation=cv2.INTER_AREA))
    if (count := count + 1) % EVERY == 0:
        starts = max(len(frames) - (L - 1) * stride, min(len(frames), T))  # where a window may begin
        indices = ((np.arange(T) + 0.5) * starts / T).astype(int)[:, None] + np.arange(L) * stride
        clip = np.stack(frames)[np.minimum(indices, len(frames) - 1), ..., ::-1]  # (T, L, H, W, C), RGB
        clip = ((clip / 255 - about["mean"]) / about["std"]).astype(np.float32)
        (scores,) = network.run(["scores"], {"clips": clip.transpose(0, 1, 4, 2, 3)[None]})[0]
        probability = 1 / np.exp(scores - scores.max()).sum()  # of the largest: the softmax
        name = about["class_names"][scores.argmax()]
        print(f"{count / fps:7.2f} s  {name}  {100 * probability:.1f} %", flush=True)
