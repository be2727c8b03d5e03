"""A pure-torchvision detection toolkit: Faster R-CNN and Mask R-CNN, trained, scored and run."""
