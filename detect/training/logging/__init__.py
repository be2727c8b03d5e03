"""What a training records: metrics.jsonl, TensorBoard, plots, example images and progress lines."""
