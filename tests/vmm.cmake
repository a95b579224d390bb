# What runs: devices without KVM, and machines with a few instructions in them on this host's own /dev/kvm (skipped without one).
foreach(name vmm_serial vmm_rtc vmm_platform)
	pv_unit_test(${name} provium-vmm)
endforeach()
foreach(name vmm_exits vmm_machine vmm_fork vmm_snapshot vmm_snapshot_file)
	pv_unit_test(${name} provium-vmm Threads::Threads)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/payload_guest.c)
endforeach()

# For bring-up and measurements: `ninja boot_probe`.
add_executable(boot_probe EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/guest/boot_probe.c)
target_link_libraries(boot_probe PRIVATE provium-vmm pv_flags pv_sanitize)
# The same for freezing and forking a real guest: `ninja fork_probe`.
add_executable(fork_probe EXCLUDE_FROM_ALL ${CMAKE_SOURCE_DIR}/tests/guest/fork_probe.c)
target_link_libraries(fork_probe PRIVATE provium-vmm pv_flags pv_sanitize)

pv_fuzz_target(snapshot provium-vmm)
