-- Suspend to idle (s2idle): the guest's processors wait, by themselves, for vm:wakeup() or for an alarm of the guest's clock.
provium.timeout = "4m"

-- Begins to suspend; the call ends after the wakeup.
local function suspend(vm, how)
	how = how or "freeze"
	local fd = vm:syscall("open", {args = {0, 1}, bufs = {"/sys/power/state\0"}, ptrs = {0}}).ret
	return vm:syscall_async("write", {args = {fd, 0, #how}, bufs = {how}, ptrs = {1}})
end

test("a guest that is suspended to idle wakes up, by the host and by its alarm", function(t)
	local vm = provium:vm("v", "linux", {memory = "160M"}):boot()
	t:assert_contains(vm:read_file("/sys/power/state"), "freeze")
	t:assert(not pcall(vm.wakeup, vm), "a guest that is awake was woken")
	local echo = vm:run_async("cat")
	for _ = 1, 2 do
		local call = suspend(vm)
		wait_until(function() return pcall(vm.wakeup, vm) end, {timeout = 60, desc = "the guest to sleep, and to wake up"})
		t:assert_eq(call:await().ret, 6)
		t:assert_eq(vm:state(), "booted")
	end
	vm:write_file("/sys/class/rtc/rtc0/wakealarm", "+10")
	t:assert_eq(suspend(vm):await().ret, 6)
	echo:stdin_write("still here\n")
	echo:close_stdin()
	t:assert_eq(echo:wait().stdout, "still here\n")
	local log = vm:run("dmesg").stdout
	local count = select(2, log:gsub("PM: suspend exit", ""))
	t:assert_eq(count, 3)
	-- The button has become no press that waits.
	vm:run("true"):assert_ok()
	vm:power_button()
	t:assert_eq(vm:state(), "shutdown")
end)
