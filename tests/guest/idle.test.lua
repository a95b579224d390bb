-- Nothing polls: while ten streams are open and nothing happens, no thread of ours on the host is woken. What is counted is how often each
-- has run, in /proc; the threads of virtual processors are left out, since a guest has timers of its own.
provium.timeout = "5m"
local vm = provium:vm("v", "linux", {memory = "256M"}):boot()

-- The threads of this process that are ours, as the names of their files.
local function threads()
	local file <close> = io.open("/proc/self/stat")
	local pid, found = file:read("a"):match("^%d+"), {}
	local list <close> = io.popen("ls /proc/" .. pid .. "/task")
	for tid in list:lines() do
		local dir = "/proc/" .. pid .. "/task/" .. tid
		local comm <close> = io.open(dir .. "/comm")
		local name = comm:read("l")
		if not name:find("^vcpu") then found[dir .. "/status"] = name end
	end
	return found
end

-- How often each of them has begun to wait.
local function waits(of)
	local found = {}
	for path in pairs(of) do
		local file <close> = io.open(path)
		found[path] = tonumber(file:read("a"):match("\nvoluntary_ctxt_switches:%s+(%d+)"))
	end
	return found
end

-- How often the loop's thread, and of the others that which was it most, have been woken in so many seconds in which nothing happens.
local function woken(seconds)
	local ours = threads()
	local before = waits(ours)
	_provium_sleep(seconds)
	local after, loop, others = waits(ours), nil, 0
	for path, name in pairs(ours) do
		local times = after[path] - before[path]
		if name == "pv-loop" then loop = times else others = math.max(others, times) end
	end
	return loop, others
end

test("an idle guest with ten open streams wakes nobody on the host", function(t)
	vm:run("mkfifo /tmp/fifo; : > /tmp/a; : > /tmp/b"):assert_ok()
	local fifo, file = vm:open_file("/tmp/fifo", {read = true, write = true}), vm:open_file("/tmp/a", {read = true})
	local silent = vm:run_async("cat")
	local worker = vm:spawn_worker()
	-- What the start of all this leaves to be done is done when the first seconds are over.
	local streams = {
		vm:tail_file("/tmp/a"), vm:tail_file("/tmp/b"), worker:tail_file("/tmp/a"), vm:tail_file("/proc/version"),
		vm:fd_stream(fifo), file:tail_stream(),
		silent:stdout_stream(), silent:stderr_stream(),
		vm:console():read(), vm:console():read(),
	}
	t:assert_eq(vm:open_stream_count(), 10)
	streams[4]:drain()
	woken(2)
	local loop, others = woken(8)
	t:log(("woken in 8 s: the loop %d times, another thread at most %d times"):format(loop, others))
	-- Anything that looks once a second has eight; a kernel wants a few random bytes now and then.
	t:assert(loop <= 5, "the loop was woken " .. loop .. " times")
	t:assert(others <= 5 + loop, "a thread was woken " .. others .. " times")
	-- And they all live.
	vm:run("echo more >> /tmp/a; echo more >> /tmp/b; echo more > /tmp/fifo"):assert_ok()
	for _, i in ipairs({1, 2, 3, 5, 6}) do t:assert_eq(streams[i]:read_until("\n"), "more\n", "stream " .. i) end
	silent:stdin_write("more\n")
	t:assert_eq(streams[7]:read_until("\n"), "more\n")
	silent:close()
end)
