# The command: what it is told, what it finds, what it hears from its workers, and what it prints.
foreach(name options discover event fixture passing result report)
	pv_unit_test(runner_${name} pv_runner)
endforeach()

# The command itself, with tests that need no guest.
add_test(NAME unit/command COMMAND ${CMAKE_SOURCE_DIR}/tests/command $<TARGET_FILE:provium>)
set_tests_properties(unit/command PROPERTIES LABELS unit TIMEOUT 120)
