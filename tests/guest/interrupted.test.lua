-- What happens to an operation when its guest goes in the middle of it: it ends at once, and its error says what happened. Each case is a copy of one
-- guest in which a fuse burns already, so that the end comes while the operation is under way.
provium.timeout = "6m"

-- The agent is beside an init, so that it can be killed alone.
local INIT = [[#!/bin/busybox sh
mount -t proc none /proc; mount -t devtmpfs none /dev; mount -t tmpfs none /tmp
while :; do sleep 100000; done
]]
local vm = provium:vm("v", "linux", {memory = "96M"}):boot({files = {{path = "/init", content = INIT, mode = 493}}})
vm:run("until grep -q ' /tmp ' /proc/mounts; do sleep 0.1; done"):assert_ok()
vm:run("mkfifo /tmp/empty /tmp/other && mkdir -p /tmp/tree/sub /tmp/many && head -c 4000000 /dev/urandom > /tmp/tree/sub/f && touch /tmp/log"):assert_ok()
vm:run("cd /tmp/many && seq 2000 | xargs touch"):assert_ok()

-- Of the host: what is pushed, and where to pull to.
local host = os.tmpname()
os.remove(host)
assert(os.execute("mkdir -p " .. host .. "/a && head -c 4000000 /dev/urandom > " .. host .. "/a/f"))

-- Again and again, for what has an end: in one of the rounds the guest goes.
local function again(operation)
	return function(x) while true do operation(x) end end
end

local PAUSE, READ, PIPE2 = "pause", "read", "pipe2"
local MEGABYTE = ("x"):rep(1 << 20)
local BOTH = {read = true, write = true}

-- A pipe of the agent that is empty.
local function pipe(who)
	return (string.unpack("<i4i4", who:syscall(PIPE2, {args = {0, 0}, bufs = {("\0"):rep(8)}, ptrs = {0}}).out_bufs[1]))
end

-- None of these ends by itself.
local operations = {
	["run"] = function(x) x:run("sleep", {args = {"1000"}, timeout = 900}) end,
	["run with much output"] = function(x) x:run("cat /dev/zero") end,
	["wait for a process"] = function(x) x:run_async("sleep", {"1000"}):wait(900) end,
	["output of a process"] = function(x)
		local s <close> = x:run_async("echo a; sleep 1000"):stdout_stream()
		s:read_until("never", 900)
	end,
	["input of a process"] = function(x)
		local p = x:run_async("sleep", {"1000"})
		while true do p:stdin_write(MEGABYTE) end
	end,
	["read a FIFO"] = function(x) x:read_file("/tmp/empty") end,
	["write a FIFO"] = function(x) x:write_file("/tmp/other", "x") end,
	["read a file"] = again(function(x) x:read_file("/tmp/tree/sub/f") end),
	["write a file"] = again(function(x) x:write_file("/tmp/new", MEGABYTE) end),
	["push a tree"] = again(function(x) x:push_dir(host .. "/a", "/tmp/pushed.d") end),
	["pull a tree"] = again(function(x) x:pull_dir("/tmp/tree", host .. "/pulled.d") end),
	["names"] = again(function(x)
		x:listdir("/tmp/many") x:stat("/tmp") x:mkdir("/tmp/m") x:rename("/tmp/m", "/tmp/n") x:unlink("/tmp/n")
	end),
	["read an open FIFO"] = function(x)
		local f <close> = x:open_file("/tmp/empty", BOTH)
		f:read(1)
	end,
	["write a full FIFO"] = function(x)
		local f <close> = x:open_file("/tmp/other", BOTH)
		while true do f:write(MEGABYTE) end
	end,
	["follow a file"] = function(x)
		local s <close> = x:tail_file("/tmp/log")
		s:read_until("never", 900)
	end,
	["next of a file"] = function(x)
		local s <close> = x:tail_file("/tmp/log")
		assert(s:next(900) == nil and s:eof(), "something came")
		s:expect("never", 900)
	end,
	["follow an open FIFO"] = function(x)
		local f <close> = x:open_file("/tmp/empty", BOTH)
		local s <close> = x:fd_stream(f)
		s:expect("never", 900)
	end,
	["a system call"] = function(x) x:syscall(READ, {args = {pipe(x), 0, 1}, bufs = {"x"}, ptrs = {1}}) end,
	["await a system call"] = function(x) x:syscall_async(PAUSE):await() end,
	["memory"] = again(function(x)
		local at = x:syscall("mmap", 0, 65536, 3, 0x22, -1, 0).ret
		x:write_mem(at, ("x"):rep(65536))
		x:read_mem(at, 65536)
		x:syscall("munmap", at, 65536)
	end),
	["ioctl"] = again(function(x)
		local f <close> = x:open_file("/tmp/log", {read = true})
		x:ioctl(f, 0x541b, ("\0"):rep(4))
	end),
	["a batch"] = function(x)
		local r = x:batch(function(b) b:run("true") b:run("sleep 1000") b:run("true") end)
		error(r[2].err or "it went through")
	end,
	["a batch of system calls"] = again(function(x)
		local r = x:batch(function(b) for _ = 1, 300 do b:syscall("getpid") end end)
		for _, each in ipairs(r) do if each.err then error(each.err) end end
	end),
	["run of a worker"] = function(x) x:spawn_worker():run("sleep 1000") end,
	["a system call of a worker"] = function(x) x:spawn_worker():syscall(PAUSE) end,
	["await a system call of a worker"] = function(x) x:spawn_worker():syscall_async(PAUSE):await() end,
	["wait for a process of a worker"] = function(x) x:spawn_worker():run_async("sleep", {"1000"}):wait() end,
	["join workers"] = again(function(x) x:spawn_worker():join() end),
	["sleep"] = function(x) x:clock():sleep(900) end,
	["snapshots"] = again(function(x) x:snapshot():delete() x:run("true") end),
	["console: expect"] = function(x) x:console():expect("never printed", 900) end,
	["console: read"] = function(x)
		local s <close> = x:console():read()
		s:read_until("never printed", 900)
	end,
	["wait_until"] = function(x) wait_until(function() return not x:run("true"):ok() end, {timeout = 900, interval = 0.01}) end,
}
-- The loss of the connection ends all of them in the same place, so others of its reasons are tried on what waits in different places.
local several = {
	"a batch", "await a system call", "console: expect", "console: read", "follow a file", "push a tree", "run of a worker", "wait_until",
}
local some = {"await a system call", "console: expect", "console: read", "follow a file", "run of a worker"}
local names = {}
for name in pairs(operations) do names[#names + 1] = name end
table.sort(names)

-- The errors of operations in copies of a guest where `fuse` burns; `expected` is one of the texts, or more, that they may have.
local function check(t, fuse, which, expected)
	local faults = {}
	local x = provium:vm("x", "linux"):restore(fuse)
	x:shutdown()
	for _, name in ipairs(which) do
		x:restore(fuse)
		local began = os.time()
		local ok, err = pcall(operations[name], x)
		local sentence, found = tostring(err), false
		for _, text in ipairs(expected) do found = found or sentence:find(text, 1, true) end
		if ok then
			faults[#faults + 1] = name .. " went through"
		elseif not found then
			faults[#faults + 1] = name .. ": " .. sentence:sub(1, 400)
		end
		t:log(("%s: %d s: %s"):format(name, os.time() - began, sentence:sub(1, 200)))
		x:shutdown()
	end
	t:assert(#faults == 0, "\n" .. table.concat(faults, "\n"))
end

-- A snapshot of a copy in which a command begins in a moment.
local function fuse(command)
	local fork = vm:fork(1)[1]
	fork:run("(sleep 0.4; " .. command .. ") > /dev/null 2>&1 &"):assert_ok()
	local snapshot = fork:snapshot()
	fork:shutdown()
	return snapshot
end

test("the agent is killed", function(t)
	check(t, fuse("kill -9 $PPID"), names, {"agent connection lost", "agent connection was lost"})
end)

test("the guest panics", {expect_oops = true}, function(t)
	check(t, fuse("echo c > /proc/sysrq-trigger"), several, {"kernel panic: Kernel panic - not syncing: sysrq triggered crash"})
end)

test("the guest powers off", function(t)
	check(t, fuse("poweroff -f"), some, {"powered off", "powers off"})
end)

test("the guest reboots", function(t)
	-- The console goes on with the next boot.
	check(t, fuse("reboot -f"), {"await a system call", "console: read", "follow a file", "run of a worker"}, {"reboot"})
end)

-- What is begun and waited for later; the test does something to the guest or the handle in between.
local begun = {
	["a system call"] = function(x) local h = x:syscall_async(PAUSE) return function() h:await() end end,
	["a process"] = function(x) local p = x:run_async("sleep", {"1000"}) return function() p:wait() end end,
	["a process, its input"] = function(x) local p = x:run_async("sleep", {"1000"}) return function() p:stdin_write("x") end end,
	["output of a process"] = function(x) local s = x:run_async("sleep", {"1000"}):stdout_stream() return function() s:expect("never", 900) end end,
	["a tail"] = function(x) local s = x:tail_file("/tmp/log") return function() s:expect("never", 900) end end,
	["an open file"] = function(x) local f = x:open_file("/tmp/empty", {read = true, write = true}) return function() f:read(1) end end,
	["a worker"] = function(x) local w = x:spawn_worker() return function() w:run("true") end end,
	["a system call of a worker"] = function(x) local h = x:spawn_worker():syscall_async(PAUSE) return function() h:await() end end,
	["a process of a worker"] = function(x) local p = x:spawn_worker():run_async("sleep", {"1000"}) return function() p:wait() end end,
	["the console"] = function(x) return function() x:console():expect("never printed", 900) end end,
	["a stream of the console"] = function(x) local s = x:console():read() return function() s:expect("never printed", 900) end end,
}

-- What all of it but `except` says after `deed`.
local function waits(t, deed, expected, except)
	local x, faults = vm:fork(1)[1], {}
	local finish = {}
	for name, begin in pairs(begun) do
		if name ~= except then finish[name] = begin(x) end
	end
	deed(x)
	for name, wait in pairs(finish) do
		local ok, err = pcall(wait)
		local found = false
		for _, text in ipairs(expected) do found = found or tostring(err):find(text, 1, true) end
		if ok then
			faults[#faults + 1] = name .. " went through"
		elseif not found then
			faults[#faults + 1] = name .. ": " .. tostring(err)
		end
		t:log(name .. ": " .. tostring(err))
	end
	x:shutdown()
	t:assert(#faults == 0, "\n" .. table.concat(faults, "\n"))
end

test("paused in the middle", function(t)
	waits(t, function(x) x:pause() end, {"is paused; use resume()"})
end)

test("shut down in the middle", function(t)
	waits(t, function(x) x:shutdown() end, {"is shutdown", "was shut down"})
end)

test("reset in the middle", function(t)
	-- The console goes on with the next boot.
	waits(t, function(x) x:reset() end, {"was reset", "was rebooted since"}, "the console")
end)

test("a handle that is closed in the middle", function(t)
	local function says(text, call, ...)
		local ok, err = pcall(call, ...)
		t:assert(not ok, "it went through; expected: " .. text)
		t:assert_contains(tostring(err), text)
	end
	local x = vm:fork(1)[1]
	local p = x:run_async("sleep", {"1000"})
	local out = p:stdout_stream()
	p:close()
	says("closed", p.wait, p)
	says("closed", p.stdin_write, p, "x")
	t:assert_eq(out:next(), nil)
	local w = x:spawn_worker()
	local call, of_worker, file = w:syscall_async(PAUSE), w:run_async("sleep", {"1000"}), w:open_file("/tmp/log", {read = true})
	w:close()
	says("worker " , call.await, call)
	says("worker ", of_worker.wait, of_worker)
	says("worker ", file.read, file, 1)
	says("was closed", w.run, w, "true")
	local f = x:open_file("/tmp/empty", {read = true, write = true})
	local s = x:fd_stream(f)
	f:close()
	says("file is closed", f.read, f, 1)
	s:close()
	says("stream closed", s.expect, s, "x")
	t:assert_eq(x:run("echo here").stdout, "here\n")
end)

test("the host's folder is removed", function(t)
	assert(os.execute("rm -r " .. host))
end)
