# The domain: what users write (provium.toml, options), what guests say (console), what goes into a guest (archives, images).
foreach(name toml config cmdline options console_log cpio fixture_key fixture_lock fixture_scan initramfs image image_refused modinfo lab_index crew kernel_report report_scan)
	pv_unit_test(lab_${name} pv_lab)
endforeach()
foreach(name snapshot rewind lab_restore fixture_cache)
	pv_unit_test(lab_${name} pv_lab Threads::Threads)
	target_sources(unit_lab_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/payload_guest.c)
endforeach()
foreach(name cpio initramfs image image_refused)
	target_link_libraries(unit_lab_${name} PRIVATE archive)
endforeach()
foreach(name image image_refused modinfo)
	target_sources(unit_lab_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/elf_module.c)
endforeach()
foreach(name image image_refused)
	target_sources(unit_lab_${name} PRIVATE ${CMAKE_SOURCE_DIR}/tests/unit/image_rig.c)
endforeach()

# toml++ is the oracle of our TOML reader, over a folder of documents whose names say which of them are good. It is not sanitized itself: on bad
# documents it reaches what it declares unreachable.
add_executable(unit_lab_toml_oracle ${CMAKE_SOURCE_DIR}/tests/unit/lab_toml_oracle.cpp)
target_link_libraries(unit_lab_toml_oracle PRIVATE pv_lab PkgConfig::CMOCKA pv_flags $<LINK_ONLY:pv_sanitize>)
target_compile_definitions(unit_lab_toml_oracle PRIVATE NDEBUG PV_TOML_CORPUS="${CMAKE_SOURCE_DIR}/tests/unit/toml")
set_target_properties(unit_lab_toml_oracle PROPERTIES RUNTIME_OUTPUT_DIRECTORY ${CMAKE_BINARY_DIR}/tests)
add_test(NAME unit/lab_toml_oracle COMMAND unit_lab_toml_oracle)
set_tests_properties(unit/lab_toml_oracle PROPERTIES LABELS unit TIMEOUT 120)

pv_unit_test(lab_vm_verdict pv_lab Threads::Threads)

pv_fuzz_target(toml pv_lab)
pv_fuzz_target(module pv_lab)
pv_fuzz_target(fixture pv_lab)
pv_fuzz_target(lab_index pv_lab)
pv_fuzz_target(kernel_report pv_lab)
