-- Sleeping guests that go back to what they were before the test: what the file has open is as it was, asleep or not.
provium.reset_between_tests = true

local vm = provium:vm("v", "linux", {memory = "160M"}):boot()
vm:write_file("/sys/power/mem_sleep", "deep")
local echo = vm:run_async("cat")
local lines = echo:stdout_stream()
local file = vm:open_file("/tmp/file", {read = true, write = true, create = true})
lines:close()

local function suspend()
	local fd = vm:syscall("open", {args = {0, 1}, bufs = {"/sys/power/state\0"}, ptrs = {0}}).ret
	return vm:syscall_async("write", {args = {fd, 0, 3}, bufs = {"mem"}, ptrs = {1}})
end

local function wake()
	wait_until(function() return pcall(vm.wakeup, vm) end, {timeout = 60, desc = "the guest to sleep, and to wake up"})
end

local function check(t)
	t:assert_eq(file:tell(), 0)
	file:write("written")
	local stream <close> = echo:stdout_stream()
	echo:stdin_write("line\n")
	t:assert_eq(stream:read_until("\n", 60), "line\n")
	local call = suspend()
	wake()
	t:assert_eq(call:await().ret, 3)
	t:assert_eq(file:tell(), 7)
	echo:stdin_write("more\n")
	t:assert_eq(stream:read_until("\n", 60), "more\n")
end

test("a guest sleeps and wakes", check)

test("the next test has it as it was, and leaves it asleep", function(t)
	check(t)
	suspend()
	wait_until(function() return not pcall(vm.run, vm, "true") end, {timeout = 60, desc = "the guest to sleep"})
end)

test("and the one after that", check)
