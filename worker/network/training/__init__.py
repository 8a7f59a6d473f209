"""Training: from labelled images to the weights of a network, with a seed and metrics of each epoch.

run.py           trains a network: its epochs, and what they give
results.py       metrics of an epoch, and the result of a training
samples.py       which images are trained on and which are held out, and batches of them
augmentation.py  images that are moved, and images with a flipped pixel
epoch_choice.py  which epoch's weights are the result
source_table.py  what each source of a network adds
label_check.py   classes without images, and labels that the trained network disputes
"""

from worker.network.training.augmentation import join_flips, move_images
from worker.network.training.results import Epoch, Trained
from worker.network.training.run import train

__all__ = ["Epoch", "Trained", "join_flips", "move_images", "train"]
