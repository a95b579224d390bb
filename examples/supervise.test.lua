-- A daemon in the background of a test: watched while it runs, told to reload, ended, and its whole output afterwards.
local vm = provium:vm("server", "linux", {memory = "128M"}):boot()

vm:write_file("/bin/ticker", [[
#!/bin/sh
trap 'echo reloaded' HUP
trap 'echo bye; exit 0' TERM
echo ready >&2
while read -r order; do echo "did $order"; done
while :; do sleep 1; done
]])
vm:run("chmod 755 /bin/ticker"):assert_ok()

test("it does what it is told, reloads and ends", function(t)
	local daemon = vm:run_async("ticker", {stdin = "first\n"})
	local out, log = daemon:stdout_stream(), daemon:stderr_stream()
	log:expect("ready")
	out:expect("did first\n")

	daemon:stdin_write("second\n")
	out:expect("did second\n")
	t:assert_eq(daemon:status(), "running")

	daemon:close_stdin()
	daemon:signal("hup")
	out:expect("reloaded\n")

	daemon:kill()
	local result = daemon:wait("10s")
	t:assert(result:ok(), tostring(result))
	t:assert_eq(result.stdout, "did first\ndid second\nreloaded\nbye\n")
end)

test("one that does not end is killed with all that it started", function(t)
	local daemon = vm:run_async("trap '' TERM; sleep 600 & echo started; while :; do sleep 1; done")
	daemon:stdout_stream():expect("started")
	daemon:kill()
	local result = daemon:wait("500ms")
	t:assert(result.timed_out, tostring(result))
	wait_until(function() return not vm:run("pidof sleep"):ok() end, {desc = "nobody is left"})
end)
