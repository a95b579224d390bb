# Device models. Most tests share the driver's side of a ring, which can do every wrong thing.
function(pv_ring_test name)
	pv_unit_test(${name} pv_virtio)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/ring_driver.c)
endfunction()

pv_ring_test(virtio_queue)
foreach(name virtio_queue_hostile virtio_queue_setup)
	pv_ring_test(${name})
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/rng_rig.c)
endforeach()
pv_ring_test(virtio_device)
pv_ring_test(virtio_pci)
pv_ring_test(virtio_pci_interrupts)
pv_ring_test(virtio_rng)
pv_ring_test(virtio_console)
foreach(name virtio_pci virtio_pci_interrupts)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/pci_guest.c)
endforeach()
pv_fuzz_target(virtqueue pv_virtio)
pv_fuzz_target(virtio_pci pv_virtio)

# The socket device has a driver of its own, which speaks packets.
set(PV_VSOCK_TEST_GUEST ${CMAKE_SOURCE_DIR}/tests/unit/vsock_guest.c)
foreach(name virtio_vsock virtio_vsock_queues)
	pv_unit_test(${name} pv_virtio)
	target_sources(unit_${name} PRIVATE ${PV_VSOCK_TEST_GUEST} ${CMAKE_SOURCE_DIR}/tests/unit/vsock_peer.c)
endforeach()
pv_fuzz_target(vsock pv_virtio)
target_sources(fuzz_vsock PRIVATE ${PV_VSOCK_TEST_GUEST})

# Snapshots of devices.
foreach(name virtio_state virtio_state_console virtio_state_pci)
	pv_ring_test(${name})
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/state_doc.c)
endforeach()
foreach(name virtio_state virtio_state_console)
	target_sources(unit_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/state_side.c)
endforeach()
target_sources(unit_virtio_state_pci PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/pci_guest.c)
foreach(name virtio_state_vsock virtio_state_vsock_refused)
	pv_unit_test(${name} pv_virtio)
	target_sources(unit_${name} PRIVATE ${PV_VSOCK_TEST_GUEST}
		${CMAKE_SOURCE_DIR}/tests/unit/state_doc.c
		${CMAKE_SOURCE_DIR}/tests/unit/vsock_peer.c
		${CMAKE_SOURCE_DIR}/tests/unit/vsock_world.c)
endforeach()
pv_fuzz_target(device_state pv_virtio)
