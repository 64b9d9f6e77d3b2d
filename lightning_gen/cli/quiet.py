"""What the libraries say on every run and nobody can act on."""

import logging
import os
import warnings


def quieten() -> None:
    """Leaves it out."""
    for name in ("pytorch_lightning.utilities.rank_zero", "lightning_fabric.utilities.seed"):
        logging.getLogger(name).setLevel(logging.WARNING)
    os.environ.setdefault("WANDB_SILENT", "true")
    # Among what it says of the machine W&B has the command, keys included; environment.json has not.
    os.environ.setdefault("WANDB_X_DISABLE_META", "true")
    os.environ.setdefault("JSONARGPARSE_DEPRECATION_WARNINGS", "off")  # of Lightning's own calls
    saving = "pytorch_lightning.trainer.connectors.checkpoint_connector"  # a line each time
    logging.getLogger(saving).setLevel(logging.WARNING)
    warnings.filterwarnings("ignore", message=".*does not have many workers.*")
    warnings.filterwarnings("ignore", message=".*no pre-optimization state was saved.*")
    warnings.filterwarnings("ignore", message=".*callbacks used to create the checkpoint.*")
    warnings.filterwarnings("ignore", message=".*Found .* module.s. in eval mode.*")
    warnings.filterwarnings("ignore", message=".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings(
        "ignore", message=".*The number of training batches.*smaller than the logging.*"
    )
    warnings.filterwarnings("ignore", message=".*Checkpoint directory .* exists and is not empty.*")
    warnings.filterwarnings(
        "ignore", message=".*ended before the epoch ended and your dataloader.*"
    )
