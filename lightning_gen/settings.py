"""Which settings of a run make its numbers: asked where a run goes on, and where runs are compared."""

EACH_STEP = (  # of the trainer: what a step computes
    *("precision", "accumulate_grad_batches", "gradient_clip_val", "gradient_clip_algorithm"),
    "sync_batchnorm",
)
HOW_LONG = (  # of the trainer: how many steps there are, and on what
    *("max_epochs", "max_steps", "max_time", "min_epochs", "min_steps"),
    *("limit_train_batches", "overfit_batches"),
)
FETCHING = {  # of the data: where it is and how it is fetched, which does not change what is served
    *("root", "num_workers", "eval_batch_size", "download", "in_memory", "on_corrupt"),
}
EXECUTION = {"compile_networks", "channels_last"}  # of the model: how it is computed
