-- A gibibyte goes through one tail, in constant memory of the agent and of this process. PROVIUM_TEST_MIB: another size, where there is no
-- hardware for so much.
local MIB = tonumber(os.getenv("PROVIUM_TEST_MIB") or 48)
provium.timeout = "10m"

local vm = provium:vm("v", "linux", {memory = (MIB + 336) .. "M"}):boot()
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

for _, entry in ipairs({{"the VM", vm}, {"a worker", worker}}) do
	local name, who = table.unpack(entry)
	local pid = who == vm and agent_pid or worker_pid

	test("a long tail, by " .. name, function(t)
		-- Blocks of 1 MiB, each with its number in front.
		local mib = who == vm and MIB or math.min(MIB, 16)
		local head = "block %07d\n"
		local size = (1 << 20) - #head:format(0)
		local body = ("0123456789abcdef"):rep(size // 16 + 1):sub(1, size - 1) .. "\n"
		vm:write_file("/tmp/body", body)
		vm:write_file("/tmp/long", "")
		local guest, host = own_memory_of(pid), own_memory()
		local tail = who:tail_file("/tmp/long")
		local writer = vm:run_async("for i in $(seq $N); do printf 'block %07d\\n' $i; cat /tmp/body; done >> /tmp/long", {env = {N = mib}})
		local pieces, len, block, most_guest, most_host = {}, 0, 0, 0, 0
		while block < mib do
			local piece = tail:next(120)
			t:assert(piece, "the stream has ended after block " .. block)
			pieces[#pieces + 1] = piece
			len = len + #piece
			while len >= 1 << 20 do
				block = block + 1
				local text = table.concat(pieces)
				t:assert(text:sub(1, 1 << 20) == head:format(block) .. body, "block " .. block .. " is another one")
				pieces = {text:sub((1 << 20) + 1)}
				len = #pieces[1]
				if block % (mib // 8) == 0 then
					-- In the middle the writer gets ahead as far as it can.
					if block == mib // 8 * 4 then wait_until(function() return writer:status() == "exited" end, {timeout = 300}) end
					most_guest, most_host = math.max(most_guest, own_memory_of(pid)), math.max(most_host, own_memory())
				end
			end
		end
		t:assert_eq(len, 0)
		t:assert(writer:wait():ok())
		tail:close()
		t:log(("%d MiB: at most %d KiB more in the agent, %d in this process"):format(mib, most_guest - guest, most_host - host))
		t:assert(most_guest - guest <= 2048, "the agent grew by " .. most_guest - guest .. " KiB")
		t:assert(most_host - host <= 12288, "this process grew by " .. most_host - host .. " KiB")
		vm:run("rm /tmp/long /tmp/body"):assert_ok()
	end)
end
