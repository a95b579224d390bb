# The test language on a lab whose guests are fake (tests/unit/fake_lab.h): no KVM. The names, options and configuration are the real ones.
add_library(pv_lua_rig STATIC
	${CMAKE_SOURCE_DIR}/tests/unit/fake_agent.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_clock.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_batch.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_file.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_fixture.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_lab.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_process.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_open_file.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_snapshot.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_stream.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_syscall.c
	${CMAKE_SOURCE_DIR}/tests/unit/fake_template.c
	${CMAKE_SOURCE_DIR}/tests/unit/lua_rig.c
	${CMAKE_SOURCE_DIR}/lab/config.c
	${CMAKE_SOURCE_DIR}/lab/config_profile.c
	${CMAKE_SOURCE_DIR}/lab/config_value.c
	${CMAKE_SOURCE_DIR}/lab/barrier.c
	${CMAKE_SOURCE_DIR}/lab/lab.c
	${CMAKE_SOURCE_DIR}/lab/lab_batch.c
	${CMAKE_SOURCE_DIR}/lab/lab_fork.c
	${CMAKE_SOURCE_DIR}/lab/lab_members.c
	${CMAKE_SOURCE_DIR}/lab/lab_index.c
	${CMAKE_SOURCE_DIR}/lab/lab_index_json.c
	${CMAKE_SOURCE_DIR}/lab/lab_restore.c
	${CMAKE_SOURCE_DIR}/lab/lab_snapshot.c
	${CMAKE_SOURCE_DIR}/lab/lab_snapshot_directory.c
	${CMAKE_SOURCE_DIR}/lab/lab_snapshot_file.c
	${CMAKE_SOURCE_DIR}/lab/lab_reset.c
	${CMAKE_SOURCE_DIR}/lab/lab_tree.c
	${CMAKE_SOURCE_DIR}/lab/crew.c
	${CMAKE_SOURCE_DIR}/lab/options.c
	${CMAKE_SOURCE_DIR}/lab/kernel_report.c
	${CMAKE_SOURCE_DIR}/lab/verdict.c
	${CMAKE_SOURCE_DIR}/lab/toml.c
	${CMAKE_SOURCE_DIR}/lab/toml_scan.c
	$<TARGET_OBJECTS:pv_lua_objects>)
target_link_libraries(pv_lua_rig PUBLIC pv_flags pv_base PkgConfig::CMOCKA PkgConfig::LUA PkgConfig::JANSSON m
	PRIVATE pv_sanitize)

foreach(name reference reset testcase context meta interrupt wait lab lab_batch lab_members lab_snapshot options command process worker fixture guest snapshot console json state sys syscall batch legacy ioctl)
	pv_unit_test(lua_${name} pv_lua_rig)
endforeach()
pv_unit_test(lua_file pv_lua_rig)
pv_unit_test(lua_clock pv_lua_rig)
pv_unit_test(lua_stream pv_lua_rig)

# Generated from the reference; the part in Lua stands beside it.
pv_unit_test(lua_arguments pv_lua_rig)
target_compile_definitions(unit_lua_arguments PRIVATE PV_ARGUMENTS_LUA="${CMAKE_SOURCE_DIR}/tests/unit/lua_arguments.lua")

pv_unit_test(lua_guest_verdict pv_lua_rig)
