-- Programs and workers of the file's scope go back with their guest between tests; their objects stay good.
provium.reset_between_tests = true

local GETUID, SETUID = 102, 105

local vm = provium:vm("v", "linux", {memory = "256M"}):boot()
local worker = vm:spawn_worker()
local program = vm:run_async("read a; echo got $a", {stdin = "first "})
local of_worker = worker:run_async("sleep", {"600"})

for round = 1, 2 do
	test("everything is as it was, round " .. round, function(t)
		t:assert_eq(program:status(), "running")
		t:assert_eq(of_worker:status(), "running")
		t:assert_eq(worker:syscall(GETUID).ret, 0)
		t:assert_eq(worker:syscall(SETUID, 1000).ret, 0)
		of_worker:kill("kill")
		program:stdin_write("line\n")
		program:stdout_stream():expect("got first line\n")
		wait_until(function() return program:status() == "exited" end)
		t:assert_eq(worker:run("id -u").stdout, "1000\n")
	end)
end

test("a test may end what is the file's", function(t)
	t:assert_eq(program:status(), "running")
	program:close()
	of_worker:close()
	worker:close()
end)
