"""DeepSpeed's options as data: which there are, and which are ours to say."""

from __future__ import annotations

from collections.abc import Mapping


def _names(text: str) -> frozenset[str]:
    return frozenset(text.split())


_ZERO_3 = _names(
    """
    allgather_sequential gather_16bit_weights_on_model_save max_live_parameters max_reuse_distance
    model_persistence_threshold module_granularity_threshold param_persistence_threshold
    prefetch_bucket_size use_all_reduce_for_fetch_params
    """
)
ALIASES = {name: f"stage3_{name}" for name in sorted(_ZERO_3)}
"""Names of one option in ``zero_optimization``; DeepSpeed would take the one and drop the other."""

GROUPS: Mapping[str, frozenset[str]] = {
    "": _names(
        """
        activation_checkpointing aio autotuning bf16 bfloat16 checkpoint comet comms_logger
        communication_data_type compile csv_monitor data_efficiency data_types dataloader_drop_last
        disable_allgather disable_python_gc dump_state expert_parallel flops_profiler fp16
        gradient_accumulation_steps gradient_allreduce_op gradient_clipping
        gradient_predivide_factor hybrid_engine log_level managed_gradient_accumulation
        memory_breakdown optimizer pipeline prescale_gradients scheduler
        seq_parallel_communication_data_type sequence_parallel_size steps_per_print tensor_parallel
        tensorboard timers torch_autocast train_batch_size train_micro_batch_size_per_gpu
        use_data_before_expert_parallelism vocabulary_size wall_clock_breakdown wandb
        weight_quantization zero_allow_untested_optimizer zero_force_ds_cpu_optimizer
        zero_optimization
        """
    ),
    "zero_optimization": _names(
        """
        allgather_bucket_size allgather_partitions compute_grad_norm contiguous_gradients
        cpu_offload cpu_offload_param cpu_offload_use_pin_memory elastic_checkpoint
        enable_sanity_checks ignore_unused_parameters leaf_module legacy_stage1
        load_from_fp32_weights log_trace_cache_warnings memory_efficient_linear offload_optimizer
        offload_param overlap_comm override_module_apply parameter_alignment
        pipeline_loading_checkpoint reduce_bucket_size reduce_scatter round_robin_gradients
        save_muon_momentum_buffer_in_memory stage stage3_gather_fp16_weights_on_model_save
        sub_group_size use_multi_rank_bucket_allreduce zenflow zero_hpz_partition_size
        zero_quantized_gradients zero_quantized_nontrainable_weights zero_quantized_weights
        """
    )
    | _ZERO_3
    | set(ALIASES.values()),
    "zero_optimization.offload_optimizer": _names(
        """
        buffer_count cpuadam_cores_perc device fast_init nvme_path pin_memory pipeline_read
        pipeline_write ratio super_offload
        """
    ),
    "zero_optimization.offload_param": _names(
        """
        buffer_count buffer_size device max_in_cpu nvme_path pin_memory
        """
    ),
    "aio": _names(
        """
        block_size intra_op_parallelism overlap_events queue_depth single_submit use_gds
        """
    ),
    "bf16": _names(
        """
        bf16_master_weights_and_grads bf16_optimizer_states check_grad_overflow enabled
        immediate_grad_update
        """
    ),
    "comms_logger": _names(
        """
        debug enabled prof_all prof_ops verbose
        """
    ),
    "data_types": _names(
        """
        buffer_dtype grad_accum_dtype keep_in_fp32_modules param_dtype
        """
    ),
    "flops_profiler": _names(
        """
        detailed enabled module_depth output_file profile_step recompute_fwd_factor top_modules
        """
    ),
}
"""Names that DeepSpeed 0.19 knows in each group of options; a group that is not here is not
looked into."""

_PRECISION = "`precision`"
_OPTIMIZER = "`learningRate`, `betas`, `epsilon` and `weightDecay`; the optimizer is AdamW"
_SCHEDULE = "`schedule`, `warmupRatio`, `decayRatio`, `minLearningRateRatio` and `phases`"
_ONE_WAY = "nothing: the model is shared out by `zero` alone"
_ORDER = "`data` and `seed`, which alone decide the order of the data"
DECIDED: Mapping[str, str] = {
    "activation_checkpointing": "`activationCheckpointing`",
    "autotuning": "nothing: `astroctl plan` finds the micro-batch that fits",
    "bf16.bf16_master_weights_and_grads": "nothing: master weights are fp32",
    "bf16.bf16_optimizer_states": "nothing: optimizer states are fp32",
    "bf16.enabled": _PRECISION,
    "bfloat16": _PRECISION,
    "checkpoint": "`checkpoint`, beside `deepspeed`",
    "data_efficiency": _ORDER,
    "data_types.buffer_dtype": _PRECISION,
    "data_types.keep_in_fp32_modules": _PRECISION,
    "data_types.param_dtype": _PRECISION,
    "dataloader_drop_last": _ORDER,
    "expert_parallel": _ONE_WAY,
    "fp16": _PRECISION,
    "gradient_accumulation_steps": "`globalBatchSize` and `microBatchSize`",
    "gradient_allreduce_op": "nothing: gradients are means over the tokens learnt",
    "gradient_clipping": "`gradientClipping`",
    "hybrid_engine": "nothing: it is for reinforcement learning",
    "managed_gradient_accumulation": "`globalBatchSize` and `microBatchSize`",
    "optimizer": _OPTIMIZER,
    "pipeline": _ONE_WAY,
    "scheduler": _SCHEDULE,
    "sequence_parallel_size": _ONE_WAY,
    "tensor_parallel": _ONE_WAY,
    "tensorboard": "`tracking`",
    "torch_autocast": _PRECISION,
    "train_batch_size": "`globalBatchSize`",
    "train_micro_batch_size_per_gpu": "`microBatchSize`",
    "use_data_before_expert_parallelism": _ONE_WAY,
    "wandb": "`tracking`",
    "weight_quantization": _PRECISION,
    "zero_allow_untested_optimizer": _OPTIMIZER,
    "zero_force_ds_cpu_optimizer": _OPTIMIZER,
    "zero_optimization.cpu_offload": "`zero.offloadOptimizer: cpu`",
    "zero_optimization.cpu_offload_param": "`zero.offloadParameters: cpu`",
    "zero_optimization.cpu_offload_use_pin_memory": "`pin_memory` of `offload_optimizer`",
    "zero_optimization.elastic_checkpoint": "nothing: checkpoints load at any number of workers",
    "zero_optimization.offload_optimizer.device": "`zero.offloadOptimizer`",
    "zero_optimization.offload_optimizer.nvme_path": "`zero.nvmePath`",
    "zero_optimization.offload_optimizer.super_offload": _OPTIMIZER,
    "zero_optimization.offload_param.device": "`zero.offloadParameters`",
    "zero_optimization.offload_param.nvme_path": "`zero.nvmePath`",
    "zero_optimization.pipeline_loading_checkpoint": "nothing: checkpoints are loaded in slices",
    "zero_optimization.stage": "`zero.stage`",
    "zero_optimization.zenflow": _OPTIMIZER,
    "zero_optimization.zero_hpz_partition_size": "`zero.hierarchicalPartition`",
}
"""What other fields of a train stage decide, or the engine itself, and which to use instead."""
