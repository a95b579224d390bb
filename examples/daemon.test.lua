-- A daemon's start, service, crash and restart, as an init system would see them.
local vm = provium:vm("server", "linux", {memory = "128M"}):boot()

local function serve()
	vm:run("mkdir -p /srv && echo hello > /srv/index.html && httpd -p 127.0.0.1:8080 -h /srv"):assert_ok()
	wait_until(function()
		return vm:run("wget -q -O - http://127.0.0.1:8080/"):ok()
	end, {timeout = 20, desc = "httpd answers"})
end

local function pid()
	local r = vm:run("pidof httpd")
	return r:ok() and r.stdout:match("%d+") or nil
end

test("it starts and serves", function(t)
	serve()
	t:assert_eq(vm:run("wget -q -O - http://127.0.0.1:8080/").stdout, "hello\n")
end)

test("a crash is seen as a signal, not as an exit", function(t)
	t:assert(pid(), "httpd is not running")
	vm:run("kill -SEGV " .. pid()):assert_ok()
	wait_until(function() return not pid() end, {desc = "httpd is gone"})
	t:assert(not vm:run("wget -q -T 1 -O - http://127.0.0.1:8080/"):ok(), "somebody still answers")

	local r = vm:run("sh", {"-c", "kill -SEGV $$"})
	t:assert_eq(r.status, "signalled")
	t:assert_eq(r.signal, 11)
	t:assert_eq(r.exit_code, -1)
end)

test("the port is free again for the next one", function(t)
	serve()
	t:assert(pid(), "httpd did not come back")
end)

test("one that never comes up is a timeout, with its output", function(t)
	local r = vm:run("echo starting; sleep 600", {timeout = "500ms"})
	t:assert(r.timed_out, "it should have been cut off")
	t:assert_eq(r.stdout, "starting\n")
end)
