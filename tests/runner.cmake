# The command: what it is told, what it finds, what it hears from its workers, and what it prints.
foreach(name options discover event fixture passing result report)
	pv_unit_test(runner_${name} pv_runner)
endforeach()
