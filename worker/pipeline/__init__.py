"""The use cases of a worker, one file for each message. Each reads its rows and resumes from what they say.

Pure functions compute the numbers, outside of transactions. One transaction stores the results; it is guarded
by the row's state and, for leased rows, by the lease.

    features/        feature vectors of pictures                      (COMPUTE_FEATURES)
    sample_batch.py  draws the reads of a batch and stores them      (SAMPLE_BATCH)
    score_batch.py   classifies the images of a sampled batch        (AGGREGATE_BATCH, and after SAMPLE_BATCH)
    finish_run.py    computes a run's statistics and ends it         (AGGREGATE_RUN)
    controls.py      accuracies of a finished run without annealing
    certainty.py     how reliable its probabilities and sets of classes are
    final_sets.py    sets of classes by what its rounds of reads were in the end
    train.py         trains a network                                (TRAIN_NETWORK)
    plan_calibration.py  makes the runs of a calibration         (PLAN_CALIBRATION)
    calibrate.py     chooses the parameters of a calibration         (CALIBRATE_NETWORK)
    dry_run.py       works out what a run would need and cost        (PREPARE)
    find_duplicates.py  looks again for problems that were sent twice    (FIND_DUPLICATES)
    energy_histograms.py  histograms of single images' reads     (COMPUTE_HISTOGRAMS)
    sample_sets/    reads as sample sets of Ocean                (COMPUTE_SAMPLE_SETS)
    attempt.py       what leased work shares: claim, heartbeat, transactions, release after a failure
"""
