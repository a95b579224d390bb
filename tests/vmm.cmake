# What runs: devices without KVM, and machines with a few instructions in them on this host's own /dev/kvm (skipped without one).
foreach(name vmm_serial vmm_rtc vmm_platform vmm_ram vmm_working_set)
	pv_unit_test(${name} provium-vmm)
endforeach()
foreach(name vmm_advance vmm_cycles vmm_exits vmm_faults vmm_machine vmm_fork vmm_generation vmm_snapshot vmm_snapshot_file vmm_snapshot_layer vmm_snapshot_layer_refused vmm_spare vmm_wake)
	pv_unit_test(${name} provium-vmm Threads::Threads)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/payload_guest.c)
endforeach()
foreach(name vmm_snapshot_layer vmm_snapshot_layer_refused)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/layer_rig.c)
endforeach()

# What is loaded: pure memory work. Kernels to load are made, and compressed, by the tests.
function(pv_kernel_test name)
	pv_unit_test(${name} pv_vmm_boot zstd lz4 lzma z bz2)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/kernel_files.c)
endfunction()
foreach(name vmm_unpack vmm_elf vmm_kernel vmm_kernel_file vmm_boot)
	pv_kernel_test(${name})
endforeach()
pv_unit_test(vmm_acpi pv_vmm_boot)
pv_fuzz_target(kernel pv_vmm_boot)

# For bring-up and measurements: `ninja boot_probe`.
add_executable(boot_probe EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/guest/boot_probe.c)
target_link_libraries(boot_probe PRIVATE provium-vmm pv_flags pv_sanitize)
# The same for freezing and forking a real guest: `ninja fork_probe`.
add_executable(fork_probe EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/guest/fork_probe.c)
target_link_libraries(fork_probe PRIVATE provium-vmm pv_flags pv_sanitize)

pv_fuzz_target(snapshot provium-vmm)
pv_fuzz_target(working_set provium-vmm)
