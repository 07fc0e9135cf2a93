"""The model zoo: backbones, initial weights, self-supervised pretraining, fine-tuning, evaluation."""
