# The floor's tests: one program a noun, and the fuzz target of the stream that every peer can write to.
pv_unit_test(base_err pv_base)
pv_unit_test(base_bytes pv_base)
pv_unit_test(base_fd pv_base)
pv_unit_test(base_loop pv_base)
pv_unit_test(base_loop_threads pv_base)
pv_unit_test(base_gmem pv_base)
pv_unit_test(base_bus pv_base)
pv_unit_test(base_pack pv_base)
pv_unit_test(base_frame pv_base)
pv_unit_test(base_units pv_base)
pv_unit_test(base_hash pv_base)

pv_fuzz_target(frame pv_base)
