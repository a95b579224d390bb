-- Guest time over snapshots (spec 7.8): it stands still while a guest is saved, or jumps to the host's; it never goes back.
provium.timeout = "4m"

-- The time since boot in seconds, by the kernel's monotonic clock, and the wall clock.
local function monotonic(vm)
	return tonumber(vm:read_file("/proc/uptime"):match("^[%d.]+"))
end

local function wall(vm)
	return tonumber((vm:run("date +%s").stdout))
end

local function complaints(vm)
	return vm:run("dmesg | grep -i -e 'soft lockup' -e 'clocksource.*unstable' -e 'rcu.*stall' -e 'hung task' -e 'time went back'").stdout
end

-- Its clock begins in 2001, so that the host's is far away.
local vm = provium:vm("v", "linux", {memory = "160M", cpus = 2, initial_time = 1e9}):boot()
vm:run("mkdir -p /t && mount -t tmpfs none /t"):assert_ok()
-- Looks at the monotonic clock from both processors, all the time, and writes down when it goes back.
vm:write_file("/t/watch.sh", [[
mkfifo /t/pause; exec 3<>/t/pause
last=0
while :; do
	for cpu in 1 2; do
		taskset -p $cpu $$ > /dev/null
		read now rest < /proc/uptime
		now=${now%.*}${now#*.}
		[ $now -ge $last ] || echo "$last then $now" >> /t/back
		last=$now
	done
	echo . >> /t/rounds
	read -t 1 -u 3 rest
done]])
vm:run("setsid sh /t/watch.sh < /dev/null > /dev/null 2>&1 &"):assert_ok()
wait_until(function() return (pcall(vm.stat, vm, "/t/rounds")) end)

local function went_back(guest)
	return guest:run("cat /t/back 2>/dev/null").stdout
end

test("time stands still while a guest is saved", function(t)
	local s = vm:snapshot()
	local before = monotonic(vm)
	_provium_sleep(4)
	local r = provium:vm("r", "linux"):restore(s)
	local after = monotonic(r)
	t:assert(after - before < 3.5, "four seconds of the host's, and the guest lived through " .. after - before)
	t:assert(math.abs(wall(r) - 1e9) < 200, "the wall clock jumped to " .. wall(r))
end)

test("a timer that is due in the meantime waits with its guest", function(t)
	vm:run("(sleep 6; echo rang > /t/stood) > /dev/null 2>&1 &"):assert_ok()
	local began = monotonic(vm)
	local s = vm:snapshot()
	_provium_sleep(8)
	local r = provium:vm("r", "linux"):restore(s)
	if monotonic(r) - began < 5 then
		t:assert(not pcall(r.stat, r, "/t/stood"), "the timer ran on while its guest was saved")
	end
	wait_until(function() return (pcall(r.stat, r, "/t/stood")) end, {timeout = 60, desc = "the timer"})
	local slept = monotonic(r) - began
	t:assert(slept >= 5.9, "the timer rang after " .. slept .. " s of the guest's time instead of 6")
end)

test("a jump takes the wall clock to the host's, and leaves the monotonic clock and timers alone", function(t)
	vm:run("(sleep 6; echo rang > /t/jumped) > /dev/null 2>&1 &"):assert_ok()
	local began = monotonic(vm)
	local r = provium:vm("r", "linux"):restore(vm:snapshot(), {clock = "now"})
	local said, host = wall(r), os.time()
	t:assert(math.abs(said - host) < 60, "the guest says " .. said .. ", the host " .. host)
	local rtc = tonumber(r:read_file("/sys/class/rtc/rtc0/since_epoch"))
	t:assert(math.abs(rtc - host) < 60, "the RTC says " .. rtc .. ", the host " .. host)
	local now = monotonic(r)
	t:assert(now >= began and now < began + 60, ("the monotonic clock went from %.2f to %.2f"):format(began, now))
	wait_until(function() return (pcall(r.stat, r, "/t/jumped")) end, {timeout = 60, desc = "the timer"})
	t:assert(monotonic(r) - began >= 5.9, "the timer rang early")
	-- The parent has seen nothing of it.
	t:assert(math.abs(wall(vm) - 1e9) < 300, "the parent's wall clock is at " .. wall(vm))
	-- A second jump, a reset, and the guest goes on as ever.
	local again = provium:vm("again", "linux"):restore(r:snapshot(), {clock = "now"})
	t:assert(math.abs(wall(again) - os.time()) < 60, "the guest says " .. wall(again))
	local rounds = again:stat("/t/rounds").size
	wait_until(function() return again:stat("/t/rounds").size > rounds + 2 end, {timeout = 60, desc = "the guest goes on"})
	t:assert_eq(went_back(again), "")
	t:assert_eq(complaints(again), "")
	again:reset()
	t:assert(math.abs(wall(again) - os.time()) < 60, "after a reset the guest says " .. wall(again))
end)

test("a clock that is ahead of the host's jumps, too", function(t)
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	r:run("date -s 2040-01-01 > /dev/null"):assert_ok()
	local before = monotonic(r)
	local s = r:snapshot()
	r:shutdown()
	r:restore(s, {clock = "now"})
	t:assert(math.abs(wall(r) - os.time()) < 60, "the guest says " .. wall(r))
	t:assert(monotonic(r) >= before, "the monotonic clock went back")
	t:assert_eq(went_back(r), "")
end)

test("fifty restores of one guest, and nobody notices", function(t)
	local r = provium:vm("r", "linux"):restore(vm:snapshot())
	local last = 0
	for i = 1, 50 do
		local s = r:snapshot()
		r:shutdown()
		r:restore(s)
		local now = monotonic(r)
		t:assert(now >= last, ("restore %d: the monotonic clock went back from %.2f to %.2f"):format(i, last, now))
		last = now
	end
	local rounds = r:stat("/t/rounds").size
	wait_until(function() return r:stat("/t/rounds").size > rounds + 2 end, {timeout = 60, desc = "the guest goes on"})
	t:assert_eq(went_back(r), "")
	t:assert_eq(complaints(r), "")
end)
