-- What is under way while the guest sleeps (spec 7.1), or binds its socket driver anew, goes on afterwards, as if nothing had been.
provium.timeout = "4m"

local function new(opts)
	local vm = provium:vm("v", "linux", opts):boot()
	vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
	return vm
end

local POWER = "/sys/power/state"

-- A call that suspends the guest: it ends after the wakeup.
local function suspend(vm)
	local fd = vm:syscall("open", {args = {0, 1}, bufs = {POWER .. "\0"}, ptrs = {0}}).ret
	assert(fd >= 0, "cannot open " .. POWER)
	return vm:syscall_async("write", {args = {fd, 0, 3}, bufs = {"mem"}, ptrs = {1}})
end

local function wake(vm)
	wait_until(function() return pcall(vm.wakeup, vm) end, {timeout = 60, desc = "the guest to sleep, and to wake up"})
end

-- Prints numbers from 1, for ever.
local COUNT = "i=0; while :; do i=$((i + 1)); echo $i; done"

-- Reads numbers from `stream` until one is at least `least`: each is the one before it and one.
local function check_numbers(t, stream, from, least)
	while from <= least do
		local line = stream:read_until("\n", 120)
		if line ~= from .. "\n" then t:fail(("`%s` comes where %d has to"):format(line, from)) end
		from = from + 1
	end
	return from
end

for cpus = 1, 2 do
	test("calls, programs, files, streams and workers outlive a sleep with " .. cpus .. " processor(s)", function(t)
		local vm = new({memory = "224M", cpus = cpus})
		vm:write_file("/sys/power/mem_sleep", "deep")
		local pid = vm:syscall("getpid").ret
		local counter = vm:run_async(COUNT)
		local numbers, next_number = counter:stdout_stream(), 1
		local echo = vm:run_async("cat")
		vm:write_file("/t/file", "0123456789")
		local file = vm:open_file("/t/file", {read = true, write = true})
		file:read(4)
		vm:write_file("/t/log", "")
		local tail = vm:tail_file("/t/log", {start = "beginning"})
		local worker = vm:spawn_worker()
		t:assert_eq(worker:syscall("setgid", 1234).ret, 0)
		local pipe = worker:syscall("pipe", {args = {0}, bufs = {("\0"):rep(8)}, ptrs = {0}})
		local reading, writing = string.unpack("<i4i4", pipe.out_bufs[1])
		local in_worker = worker:syscall_async("read", {args = {reading, 0, 8}, bufs = {("x"):rep(8)}, ptrs = {1}})
		local itself = vm:run_async("echo before; echo mem > " .. POWER .. "; echo back")
		wake(vm)
		local r = itself:wait()
		t:assert_eq(r.stdout, "before\nback\n")
		t:assert_eq(r.stderr, "")
		for round = 1, 3 do
			next_number = check_numbers(t, numbers, next_number, next_number + 2000)
			local call = suspend(vm)
			wake(vm)
			t:assert_eq(call:await().ret, 3, "round " .. round)
			t:assert_eq(vm:syscall("getpid").ret, pid)
			t:assert_eq(counter:status(), "running")
			vm:run("echo line " .. round .. " >> /t/log"):assert_ok()
			t:assert_eq(tail:read_until("\n", 60), "line " .. round .. "\n")
		end
		next_number = check_numbers(t, numbers, next_number, next_number + 5000)
		t:assert_eq(file:tell(), 4)
		t:assert_eq(file:read(3), "456")
		t:assert_eq(worker:syscall("write", {args = {writing, 0, 8}, bufs = {"the call"}, ptrs = {1}}).ret, 8)
		local read = in_worker:await()
		t:assert_eq(read.ret, 8)
		t:assert_eq(read.out_bufs[1], "the call")
		t:assert_eq(worker:syscall("getgid").ret, 1234)
		t:assert_eq(worker:join(), 0)
		echo:stdin_write("still here\n")
		echo:close_stdin()
		t:assert_eq(echo:wait().stdout, "still here\n")
		numbers:close()
		tail:close()
		counter:kill(9)
		counter:close()
		if cpus > 1 then return end
		-- And is as good as any: snapshot, restore, sleep after that.
		local kept = vm:run_async("read x; echo got $x")
		local copy = provium:vm("copy", "linux"):restore(vm:snapshot())
		t:assert_eq(copy:syscall("getpid").ret, pid)
		local call = suspend(copy)
		wake(copy)
		t:assert_eq(call:await().ret, 3)
		t:assert_eq(copy:run("cat /t/file").stdout, "0123456789")
		local forks = copy:fork(2)
		for _, fork in ipairs(forks) do
			call = suspend(fork)
			wake(fork)
			t:assert_eq(call:await().ret, 3)
		end
		kept:stdin_write("it\n")
		t:assert_eq(kept:wait().stdout, "got it\n")
	end)
end

test("who waits for a guest that sleeps is told, and the others stay", function(t)
	local vm = new({memory = "160M"})
	vm:write_file("/sys/power/mem_sleep", "deep")
	local kept = vm:run_async("sleep 1000 & wait")
	local ok, err = pcall(vm.run, vm, "echo mem > " .. POWER)
	t:assert(not ok)
	t:assert_contains(tostring(err), "the guest is suspended; use wakeup()")
	wake(vm)
	local call = suspend(vm)
	local function sleeps() return not pcall(vm.run, vm, "true") end
	wait_until(sleeps, {timeout = 60, desc = "the guest to sleep"})
	ok, err = pcall(vm.run, vm, "true")
	t:assert(not ok)
	t:assert_contains(tostring(err), "vm `v` is suspended; use wakeup() (cannot run)")
	ok, err = pcall(call.await, call)
	t:assert(not ok)
	t:assert_contains(tostring(err), "vm `v` is suspended; use wakeup() (cannot await)")
	wake(vm)
	t:assert_eq(call:await().ret, 3)
	vm:run("true"):assert_ok()
	t:assert_eq(kept:status(), "running")
	-- A guest that is reset in its sleep knows nothing of all that.
	call = suspend(vm)
	wait_until(sleeps, {timeout = 60, desc = "the guest to sleep"})
	vm:reset()
	ok, err = pcall(call.await, call)
	t:assert(not ok)
	t:assert_contains(tostring(err), "the VM was reset")
	t:assert_contains(tostring(t:assert_raises(function() kept:status() end)), "the guest was rebooted since")
end)

test("a driver that is bound anew is as little noticed", function(t)
	local vm = new({memory = "160M"})
	local name = vm:run("ls /sys/bus/virtio/drivers/vmw_vsock_virtio_transport | grep virtio").stdout:match("%S+")
	local counter = vm:run_async(COUNT)
	local numbers = counter:stdout_stream()
	local next_number = check_numbers(t, numbers, 1, 1000)
	for _ = 1, 3 do
		local again = vm:run_async(("cd /sys/bus/virtio/drivers/vmw_vsock_virtio_transport && echo %s > unbind && echo %s > bind"):format(name, name))
		t:assert_eq(again:wait().exit_code, 0)
		next_number = check_numbers(t, numbers, next_number, next_number + 2000)
	end
	counter:kill(9)
end)
