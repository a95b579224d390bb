-- Two hundred system calls wait at once, in the VM and in a worker: none is lost or gets the answer of another, and neither the agent nor this
-- process keeps memory for them.
local sys = provium.sys
provium.timeout = "10m"

local vm = provium:vm("v", "linux", {memory = "384M"}):boot()
local worker = vm:spawn_worker()
local agent_pid = tonumber(vm:run("echo $PPID").stdout)
local worker_pid = worker:syscall("getpid").ret

-- KiB of memory of its own: of a process of the guest, and of this one.
local function own_memory_of(pid)
	return tonumber(vm:read_file("/proc/" .. pid .. "/status"):match("RssAnon:%s+(%d+) kB"))
end
local function own_memory()
	collectgarbage()
	collectgarbage()
	local file <close> = io.open("/proc/self/status")
	return tonumber(file:read("a"):match("RssAnon:%s+(%d+) kB"))
end
local function threads_of(pid) return tonumber(vm:read_file("/proc/" .. pid .. "/status"):match("Threads:%s+(%d+)")) end

-- 1 to n in an order that looks like none, the same in every run.
local function shuffled(n)
	local order, seed = {}, 12345
	for i = 1, n do order[i] = i end
	for i = n, 2, -1 do
		seed = (seed * 1103515245 + 12345) & 0x7fffffff
		local j = (seed >> 8) % i + 1
		order[i], order[j] = order[j], order[i]
	end
	return order
end

local CALLS = 200

-- That many calls wait in the kernel, each for an eventfd of its own, and are answered and awaited in other orders.
local function calls_in_flight(t, who, pid, fds)
	local waiting = {}
	for i = 1, CALLS do
		waiting[i] = who:syscall_async("read", {args = {fds[i], 0, 8}, bufs = {("\0"):rep(8)}, ptrs = {1}})
	end
	wait_until(function() return threads_of(pid) >= CALLS end, {timeout = 60, desc = "a thread for each call"})
	t:assert_eq(vm:run("echo free").stdout, "free\n")
	t:assert_eq(who:run("echo free").stdout, "free\n")
	for _, i in ipairs(shuffled(CALLS)) do
		local wrote = who:syscall("write", {args = {fds[i], 0, 8}, bufs = {string.pack("<I8", i * 1000003)}, ptrs = {1}})
		t:assert_eq(wrote.ret, 8)
	end
	for i = CALLS, 1, -1 do
		local r = waiting[i]:await()
		t:assert_eq(r.ret, 8)
		t:assert_eq(string.unpack("<I8", r.out_bufs[1]), i * 1000003, "call " .. i)
	end
	wait_until(function() return threads_of(pid) < 20 end, {timeout = 60, desc = "the threads are gone"})
end

for _, entry in ipairs({{"the VM", vm}, {"a worker", worker}}) do
	local name, who = table.unpack(entry)
	local pid = who == vm and agent_pid or worker_pid

	test("200 system calls wait at once, by " .. name, function(t)
		local fds = {}
		for i = 1, CALLS do
			fds[i] = who:syscall("eventfd2", 0, sys.EFD_CLOEXEC).ret
			t:assert(fds[i] > 2)
		end
		calls_in_flight(t, who, pid, fds)
		local guest, host = own_memory_of(pid), own_memory()
		for _ = 1, 3 do calls_in_flight(t, who, pid, fds) end
		local guest_growth, host_growth = own_memory_of(pid) - guest, own_memory() - host
		t:log(("the agent has %d KiB and grew by %d, this process has %d and grew by %d"):format(guest, guest_growth, host, host_growth))
		t:assert(guest_growth <= 512, "the agent grew by " .. guest_growth .. " KiB")
		t:assert(host_growth <= 1024, "this process grew by " .. host_growth .. " KiB")
		for i = 1, CALLS do who:syscall("close", fds[i]) end
		t:assert(vm:is_quiescent())
	end)
end
