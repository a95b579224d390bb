-- A guest that is restored again and again: its memory stays right to the byte, its time never goes back, and its kernel has nothing to complain
-- about.
provium.timeout = "5m"
local ONE, CHAIN = 5, 50

-- A process keeps the sum of 100 numbers. In every round it changes one of them, and the sum with it, then adds up all of them, and says how many
-- rounds it has done, or that a sum was wrong. /proc/uptime must not go back meanwhile.
local SUMMER = [[
BEGIN {
	seed = 1; sum = 0; last = 0
	for (i = 0; i < 100; i++) sum += a[i] = i
	for (round = 1;; round++) {
		seed = (seed * 1103515 + 12345) % 2147483648
		i = int(seed / 65536) % 100
		sum += seed - a[i]; a[i] = seed
		total = 0
		for (i = 0; i < 100; i++) total += a[i]
		getline now < "/proc/uptime"; close("/proc/uptime")
		if (total != sum) print "sum " total " instead of " sum > "/t/wrong"
		if (now + 0 < last) print "uptime " now " after " last > "/t/wrong"
		fflush(); last = now + 0
		printf "%d.", round > "/t/rounds"; close("/t/rounds")
	}
}]]

local vm = provium:vm("v", "linux", {memory = "160M", cpus = 2}):boot()
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
vm:write_file("/t/summer", SUMMER)
vm:run("setsid awk -f /t/summer < /dev/null > /dev/null 2>&1 &"):assert_ok()

local function rounds(guest)
	return tonumber(guest:read_file("/t/rounds"):match("^(%d+)%.")) or 0
end

local function goes_on(t, guest)
	local before = rounds(guest)
	wait_until(function() return rounds(guest) > before + 1 end)
	t:assert(not pcall(guest.stat, guest, "/t/wrong"), "the guest found a mistake")
end

wait_until(function() return pcall(vm.stat, vm, "/t/rounds") end)
local lines = #vm:run("dmesg").stdout
local saved = vm:snapshot()
vm:pause()

test("one snapshot, restored again and again", function(t)
	local copy = provium:vm("copy", "linux")
	for _ = 1, ONE do
		copy:restore(saved)
		goes_on(t, copy)
		copy:shutdown()
	end
end)

test("each restored from the last one", function(t)
	local guest, last = provium:vm("copy", "linux"), saved
	for i = 1, CHAIN do
		guest:restore(last)
		-- Its first answer, and now and then a while of its own.
		t:assert(not pcall(guest.stat, guest, "/t/wrong"), "the guest found a mistake")
		if i % 5 == 0 then
			goes_on(t, guest)
		end
		last = guest:snapshot()
		guest:shutdown()
	end
	guest:restore(last)
	goes_on(t, guest)
	local log = guest:run("dmesg").stdout
	t:assert(#log >= lines, "the kernel's log got lost")
	for _, complaint in ipairs({"soft lockup", "hard LOCKUP", "clocksource", "rcu:.*stall", "hrtimer: interrupt took", "Call Trace", "hung task", "time went backwards"}) do
		t:assert(not log:sub(lines + 1):find(complaint), "the kernel complains: " .. log:sub(lines + 1))
	end
end)

test("the saved guest goes on as well", function(t)
	vm:resume()
	goes_on(t, vm)
end)
