-- Typing more than the console takes at once: to a guest that reads fast, slowly, not at all, or is gone in the middle.
provium.timeout = "5m"
-- On its way the device keeps 64 KiB, the queue of the guest's driver 256 and its terminal 640.
local SIZE, KEPT = 1500000, 983040 + 8192

-- Lines that are all different. (With ^O in it a console of the kernel would take what follows for a SysRq.)
local function typed()
	local lines = {}
	for i = 1, SIZE // 100 do lines[i] = ("line %06d %s\n"):format(i, ("."):rep(87)) end
	return table.concat(lines)
end

-- Without a serial port: that would get a copy of it all, a byte at a time, and echo it.
local HVC = {kernel_cmdline_append = "8250.nr_uarts=0 console=hvc0"}
local vm = provium:vm("v", "linux", {memory = "256M"}):boot(HVC)
local data = typed()

test("a guest that reads as fast as it can", function(t)
	local part = data:sub(1, 500000)
	local reader = vm:run_async("exec < /dev/hvc0; stty raw -echo; echo ready; head -c $N", {env = {N = #part}})
	reader:stdout_stream():expect("ready\n")
	vm:console():write(part)
	local r = reader:wait(60)
	t:assert_eq(r.exit_code, 0)
	t:assert(r.stdout == "ready\n" .. part, "what was read is not what was typed")
end)

test("a guest that takes a little now and then", function(t)
	local reader = vm:run_async([[exec < /dev/hvc0
		stty raw -echo
		: > /tmp/typed
		echo ready
		left=$N
		while [ $left -gt 0 ]; do
			pieces=$(((left + 3999) / 4000))
			dd bs=4000 count=$((pieces > 50 ? 50 : pieces)) >> /tmp/typed 2> /dev/null
			left=$((N - $(stat -c %s /tmp/typed)))
		done]], {env = {N = #data}})
	reader:stdout_stream():expect("ready\n")
	vm:console():write(data, {timeout = 120})
	-- At most what the device and the guest's kernel keep for a reader is still on its way.
	t:assert(vm:stat("/tmp/typed").size >= #data - KEPT, "nobody waited for the reader")
	t:assert(reader:wait(120):ok())
	t:assert(vm:read_file("/tmp/typed") == data, "what was read is not what was typed")
end)

test("a guest that does not read", function(t)
	-- Not by `cat`: it waits in sendfile(2) for the terminal with our pipe locked, and the agent with it.
	local w = provium:vm("w", "linux", {memory = "256M"}):boot(HVC)
	local reader = w:run_async("exec < /dev/hvc0; stty raw -echo; mkfifo /tmp/go; echo ready; read go < /tmp/go; exec dd bs=4000 2> /dev/null")
	local read = reader:stdout_stream()
	read:expect("ready\n")
	local err = tostring(t:assert_raises(function() w:console():write(data, {timeout = "500ms"}) end))
	t:assert_contains(err, "console:write timed out: the guest of vm `w` does not read its console")
	t:assert_eq(w:run("echo free").stdout, "free\n")
	-- What was taken is there for who reads later, and in order.
	w:write_file("/tmp/go", "go\n")
	w:console():write(("-"):rep(1000) .. "#", {timeout = 60})
	local text = read:read_until("#", 60)
	local kept = #text - 1001
	t:assert(kept > 300000 and kept <= KEPT, kept .. " bytes were kept")
	t:assert(text == data:sub(1, kept) .. ("-"):rep(1000) .. "#", "what was read is not what was typed")
end)

test("a guest that powers off meanwhile", function(t)
	local w = provium:vm("w", "linux", {memory = "256M"}):boot(HVC)
	w:run("(sleep 1; poweroff -f) > /dev/null 2>&1 &"):assert_ok()
	local err = tostring(t:assert_raises(function() w:console():write(data, {timeout = 0}) end))
	t:assert_contains(err, "console:write")
	t:assert_contains(err, "the guest powered off")
end)

test("a guest that reboots meanwhile", function(t)
	local w = provium:vm("w", "linux", {memory = "256M"}):boot(HVC)
	w:run("(sleep 1; echo b > /proc/sysrq-trigger) > /dev/null 2>&1 &"):assert_ok()
	local err = tostring(t:assert_raises(function() w:console():write(data, {timeout = 0}) end))
	t:assert_contains(err, "vm `w`: console:write: the guest was rebooted, ")
	wait_until(function() return pcall(w.run, w, "true") end, {timeout = 60})
end)

test("a guest that panics meanwhile", {expect_oops = true}, function(t)
	local w = provium:vm("w", "linux", {memory = "256M"}):boot(HVC)
	w:run("(sleep 1; echo c > /proc/sysrq-trigger) > /dev/null 2>&1 &"):assert_ok()
	local err = tostring(t:assert_raises(function() w:console():write(data, {timeout = 0}) end))
	t:assert_contains(err, "vm `w`: console:write: kernel panic: Kernel panic - not syncing: sysrq triggered crash")
end)
